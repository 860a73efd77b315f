#include "report/training_database.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"

namespace yoloquant::report {
namespace {

constexpr int64_t kApplication = 0x59515452;  // "YQTR"
constexpr int64_t kSchemaVersion = 1;

constexpr const char* kSchema = R"(
CREATE TABLE run (
  section TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (section, key)
) WITHOUT ROWID;
CREATE TABLE data (
  name TEXT PRIMARY KEY, path TEXT NOT NULL, items INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE iterations (
  iteration INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, images INTEGER NOT NULL,
  box_om REAL, cls_om REAL, dfl_om REAL, box_oo REAL, cls_oo REAL, dfl_oo REAL, total REAL,
  lr_pg0 REAL, lr_pg1 REAL, lr_pg2 REAL, momentum REAL, gradient_norm REAL, loss_scale REAL,
  seconds REAL
);
CREATE INDEX iterations_by_epoch ON iterations (epoch);
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY, seconds REAL,
  train_box_om REAL, train_cls_om REAL, train_dfl_om REAL,
  train_box_oo REAL, train_cls_oo REAL, train_dfl_oo REAL,
  "precision" REAL, recall REAL, map50 REAL, map REAL,
  val_box_om REAL, val_cls_om REAL, val_dfl_om REAL,
  val_box_oo REAL, val_cls_oo REAL, val_dfl_oo REAL,
  lr_pg0 REAL, lr_pg1 REAL, lr_pg2 REAL
);
CREATE TABLE layers (
  epoch INTEGER NOT NULL, layer TEXT NOT NULL, kind TEXT NOT NULL, bits INTEGER NOT NULL,
  scale_mean REAL, scale_min REAL, scale_max REAL, scale_drift REAL,
  oscillating REAL, frozen REAL, dead_codes REAL, saturated REAL, clipped REAL, gradient_norm REAL,
  PRIMARY KEY (epoch, layer, kind)
) WITHOUT ROWID;
CREATE INDEX layers_by_name ON layers (layer, kind, epoch);
CREATE TABLE events (
  id INTEGER PRIMARY KEY, time TEXT NOT NULL, epoch INTEGER NOT NULL, iteration INTEGER NOT NULL,
  kind TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind);
)";

std::string insert_into(const std::string& table, size_t columns) {
  std::string sql = "INSERT OR REPLACE INTO " + table + " VALUES (?";
  for (size_t i = 1; i < columns; ++i) sql += ",?";
  return sql + ")";
}

template <size_t N>
void bind_all(SqliteStatement& statement, const std::array<double, N>& values) {
  for (const double value : values) statement.bind(value);
}

// Opens the file and sees to its schema.
SqliteDatabase open_database(std::filesystem::path path) {
  SqliteDatabase database(std::move(path));
  // Of a file that is no database, the first statement complains.
  const int64_t application = database.integer("PRAGMA application_id");
  const int64_t version = database.integer("PRAGMA user_version");
  const bool is_new =
      application == 0 && database.integer("SELECT count(*) FROM sqlite_master") == 0;
  if (!is_new && application != kApplication) {
    fail("{}: no database of a training: move it away to start a new one",
         database.path().string());
  }
  if (!is_new && version != kSchemaVersion) {
    fail("{}: has schema {}, this program writes {}: move it away to start a new one",
         database.path().string(), version, kSchemaVersion);
  }
  // Where shared memory does not work (network folders) SQLite keeps its rollback journal, which is
  // as safe, but locks readers out during a flush.
  database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  if (!is_new) return database;
  database.execute(fmt::format(
      "BEGIN IMMEDIATE; PRAGMA application_id = {}; PRAGMA user_version = {}; {} COMMIT",
      kApplication, kSchemaVersion, kSchema));
  return database;
}

// Epochs count from 1 in the file.
int64_t in_file(int64_t epoch) { return epoch + 1; }

}  // namespace

TrainingDatabase::TrainingDatabase(std::filesystem::path path, const RunRecord& run,
                                   RecordPoint resume)
    : database_(open_database(std::move(path))),
      insert_iteration_(database_, insert_into("iterations", 17)),
      insert_epoch_(database_, insert_into("epochs", 21)),
      insert_layer_(database_, insert_into("layers", 14)),
      insert_event_(database_,
                    "INSERT INTO events (time, epoch, iteration, kind, text) VALUES "
                    "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?, ?, ?, ?)") {
  rewind(resume);
  // An event that stopped the earlier run, such as an interruption, is at the resume point itself.
  const bool from_start = resume.epoch == 0 && resume.iteration == 0;
  database_.execute(
      fmt::format("DELETE FROM events WHERE iteration > {}", from_start ? -1 : resume.iteration));
  store(run);
  flush();
}

void TrainingDatabase::store(const RunRecord& run) {
  begin();
  database_.execute("DELETE FROM run; DELETE FROM data");
  SqliteStatement insert(database_, insert_into("run", 3));
  const auto put = [&](const char* section, const std::string& key, const std::string& value) {
    insert.bind(section).bind(key).bind(value).run();
  };
  for (const auto& [key, value] : run.hyperparameters) put("hyperparameter", key, value);
  for (const auto& [key, value] : run.versions) put("version", key, value);
  put("run", "seed", fmt::format("{}", run.seed));
  SqliteStatement insert_data(database_, insert_into("data", 4));
  for (const DataSource& source : run.data) {
    insert_data.bind(source.name).bind(source.path).bind(source.items).bind(source.sha256).run();
  }
}

void TrainingDatabase::add(const IterationRecord& record) {
  begin();
  SqliteStatement& row = insert_iteration_;
  row.bind(record.iteration).bind(in_file(record.epoch)).bind(record.images);
  bind_all(row, record.losses);
  row.bind(record.total);
  bind_all(row, record.rates);
  row.bind(record.momentum).bind(record.gradient_norm).bind(record.loss_scale);
  row.bind(record.seconds).run();
}

void TrainingDatabase::add(const EpochRecord& record) {
  begin();
  SqliteStatement& row = insert_epoch_;
  row.bind(in_file(record.epoch)).bind(record.seconds);
  for (const auto& [name, value] : named_values(record)) row.bind(value);
  row.run();
}

void TrainingDatabase::add(const LayerRecord& record) {
  begin();
  SqliteStatement& row = insert_layer_;
  row.bind(in_file(record.epoch)).bind(record.layer);
  row.bind(record.kind == LayerRecord::Kind::kWeight ? "weight" : "activation").bind(record.bits);
  row.bind(record.scale_mean).bind(record.scale_min).bind(record.scale_max);
  row.bind(record.scale_drift).bind(record.oscillating).bind(record.frozen);
  row.bind(record.dead_codes).bind(record.saturated).bind(record.clipped);
  row.bind(record.gradient_norm).run();
}

void TrainingDatabase::add(const EventRecord& record) {
  begin();
  insert_event_.bind(in_file(record.epoch)).bind(record.iteration);
  insert_event_.bind(record.kind).bind(record.text).run();
}

void TrainingDatabase::rewind(RecordPoint point) {
  begin();
  database_.execute(fmt::format(
      "DELETE FROM iterations WHERE iteration >= {0}; DELETE FROM epochs WHERE epoch >= {1}; "
      "DELETE FROM layers WHERE epoch >= {1}",
      point.iteration, in_file(point.epoch)));
}

void TrainingDatabase::begin() {
  if (!database_.in_transaction()) database_.execute("BEGIN IMMEDIATE");
}

void TrainingDatabase::flush() {
  if (database_.in_transaction()) database_.execute("COMMIT");
}

void TrainingDatabase::finish() {
  flush();
  try {
    database_.execute("PRAGMA busy_timeout = 200; PRAGMA journal_mode = DELETE");
  } catch (const Error&) {
    // Someone reads just now. The file is complete all the same.
  }
}

}  // namespace yoloquant::report
