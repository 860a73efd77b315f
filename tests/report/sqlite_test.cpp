#include "report/sqlite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <typename Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

class Sqlite : public testing::Test {
 protected:
  Sqlite() { database_.execute("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL)"); }

  yoloquant::test::TemporaryFolder folder_;
  SqliteDatabase database_{folder_ / "words"};
};

TEST_F(Sqlite, FullDiskIsOneLineThatSaysWhatToDo) {
  database_.execute("PRAGMA max_page_count = 20");
  SqliteStatement insert(database_, "INSERT INTO words (word) VALUES (?)");
  const std::string word(5000, 'x');
  database_.execute("BEGIN IMMEDIATE");
  const std::string error = error_of([&] {
    for (int i = 0; i < 100; ++i) insert.bind(word).run();
  });
  EXPECT_THAT(error, AllOf(HasSubstr("words: database or disk is full"), HasSubstr("free some")));
  if (database_.in_transaction()) database_.execute("ROLLBACK");
  EXPECT_EQ(database_.integer("SELECT count(*) FROM words"), 0);
  insert.bind("short").run();  // the statement can be used again
  EXPECT_EQ(database_.text("SELECT word FROM words"), "short");
}

TEST_F(Sqlite, ValuesMustFitTheParameters) {
  SqliteStatement insert(database_, "INSERT INTO words VALUES (?, ?)");
  EXPECT_THAT(error_of([&] { insert.bind(int64_t{1}).run(); }),
              HasSubstr("1 values for the 2 parameters"));
  EXPECT_THROW(insert.bind(int64_t{1}).bind("a").bind("b"), Error);
}

TEST_F(Sqlite, WrongStatementsAndRowsAreErrors) {
  EXPECT_THAT(error_of([&] { database_.execute("NONSENSE"); }), HasSubstr("syntax error"));
  EXPECT_THAT(error_of([&] { database_.integer("SELECT id FROM words"); }), HasSubstr("no row"));
  SqliteStatement insert(database_, "INSERT INTO words (word) VALUES (?)");
  EXPECT_THAT(error_of([&] { insert.bind(std::optional<double>()).run(); }),
              HasSubstr("NOT NULL constraint failed"));
}

TEST_F(Sqlite, TextMayHaveAnyBytes) {
  const std::string word("a\0'\xFF", 4);
  SqliteStatement(database_, "INSERT INTO words (word) VALUES (?)").bind(word).run();
  EXPECT_EQ(database_.text("SELECT word FROM words"), word);
}

}  // namespace
}  // namespace yoloquant::report
