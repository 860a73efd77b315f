#include "report/sqlite.h"

#include <sqlite3.h>

#include <utility>

#include "base/error.h"

namespace yoloquant::report {
namespace {

constexpr int kLockMilliseconds = 10'000;

const char* advice(int status) {
  switch (status & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ": another program writes to it, end that one first";
    case SQLITE_FULL:
      return ": free some space";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ": move the file away to start a new one";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      return ": is its folder there and writable?";
    default:
      return "";
  }
}

}  // namespace

void SqliteDatabase::Closer::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

SqliteDatabase::SqliteDatabase(std::filesystem::path path) : path_(std::move(path)) {
  sqlite3* handle = nullptr;
  const int status = sqlite3_open(path_.c_str(), &handle);
  handle_.reset(handle);
  if (handle == nullptr) fail("{}: not enough memory for a database", path_.string());
  if (status != SQLITE_OK) fail_now();
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kLockMilliseconds);
}

void SqliteDatabase::execute(const std::string& sql) {
  if (sqlite3_exec(handle(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail_now();
}

int64_t SqliteDatabase::integer(const std::string& sql) {
  SqliteStatement statement(*this, sql);
  if (!statement.step()) fail("{}: no row from '{}'", path_.string(), sql);
  return statement.integer(0);
}

std::string SqliteDatabase::text(const std::string& sql) {
  SqliteStatement statement(*this, sql);
  if (!statement.step()) fail("{}: no row from '{}'", path_.string(), sql);
  return statement.text(0);
}

bool SqliteDatabase::in_transaction() const { return sqlite3_get_autocommit(handle()) == 0; }

void SqliteDatabase::fail_now() const {
  const int status = sqlite3_extended_errcode(handle());
  fail("{}: {} (SQLite error {}){}", path_.string(), sqlite3_errmsg(handle()), status,
       advice(status));
}

void SqliteStatement::Finalizer::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement::SqliteStatement(SqliteDatabase& database, const std::string& sql)
    : database_(database) {
  sqlite3_stmt* statement = nullptr;
  const int status = sqlite3_prepare_v2(database.handle(), sql.c_str(), -1, &statement, nullptr);
  statement_.reset(statement);
  check(status);
}

SqliteStatement& SqliteStatement::bind(int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), ++bound_, value));
  return *this;
}

SqliteStatement& SqliteStatement::bind(double value) {
  check(sqlite3_bind_double(statement_.get(), ++bound_, value));
  return *this;
}

SqliteStatement& SqliteStatement::bind(std::string_view value) {
  check(sqlite3_bind_text64(statement_.get(), ++bound_, value.data(), value.size(),
                            SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

SqliteStatement& SqliteStatement::bind(const std::optional<double>& value) {
  if (value) return bind(*value);
  check(sqlite3_bind_null(statement_.get(), ++bound_));
  return *this;
}

void SqliteStatement::run() {
  const int parameters = sqlite3_bind_parameter_count(statement_.get());
  const int bound = std::exchange(bound_, 0);
  if (bound != parameters) {
    fail("{} values for the {} parameters of '{}'", bound, parameters,
         sqlite3_sql(statement_.get()));
  }
  sqlite3_step(statement_.get());
  check(sqlite3_reset(statement_.get()));  // gives the status of the step
}

bool SqliteStatement::step() {
  const int status = sqlite3_step(statement_.get());
  if (status != SQLITE_DONE && status != SQLITE_ROW) check(status);
  return status == SQLITE_ROW;
}

int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double SqliteStatement::real(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}

bool SqliteStatement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::string SqliteStatement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {reinterpret_cast<const char*>(text), size};
}

void SqliteStatement::check(int status) const {
  if (status != SQLITE_OK) database_.fail_now();
}

}  // namespace yoloquant::report
