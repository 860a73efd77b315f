#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

// As much of SQLite as the project needs. All functions throw Error, with the file, what SQLite
// says and what can be done.
namespace yoloquant::report {

class SqliteDatabase {
 public:
  // Opens or makes the file. A lock of another program is waited for, up to ten seconds.
  explicit SqliteDatabase(std::filesystem::path path);

  // Runs statements, separated by semicolons, that give no rows one looks at.
  void execute(const std::string& sql);
  // First value of the first row.
  int64_t integer(const std::string& sql);
  std::string text(const std::string& sql);
  // Errors such as a full disk end a transaction too.
  bool in_transaction() const;
  const std::filesystem::path& path() const { return path_; }

  [[noreturn]] void fail_now() const;  // with SQLite's last error
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Closer {
    void operator()(sqlite3* handle) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Closer> handle_;
};

// A prepared statement; the database must outlive it. Values are bound in turn:
//   statement.bind(1).bind("text"); statement.run();
class SqliteStatement {
 public:
  SqliteStatement(SqliteDatabase& database, const std::string& sql);

  SqliteStatement& bind(int64_t value);
  SqliteStatement& bind(double value);  // SQLite stores NaN as NULL
  SqliteStatement& bind(std::string_view value);
  SqliteStatement& bind(const std::optional<double>& value);

  // Runs it once and makes it ready for other values.
  void run();

  // For queries: true while there is a row; then its columns, from 0.
  bool step();
  int64_t integer(int column) const;
  double real(int column) const;
  bool is_null(int column) const;
  std::string text(int column) const;

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  void check(int status) const;

  SqliteDatabase& database_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  int bound_ = 0;
};

}  // namespace yoloquant::report
