#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// TensorBoard event files, written without TensorFlow.
//
// A file is a sequence of records (TensorFlow's TFRecord), all numbers little-endian:
//   uint64 length | uint32 masked CRC of these 8 bytes | data | uint32 masked CRC of the data
// Data is a protobuf message (tensorflow/core/util/event.proto, framework/summary.proto) of which
// these fields are used:
//   Event:          1 wall_time double | 2 step int64 | 3 file_version string | 5 summary Summary |
//                   7 session_log SessionLog
//   Summary:        1 value Summary.Value, repeated
//   Summary.Value:  1 tag string | 2 simple_value float
//   SessionLog:     1 status enum (START = 1)
// The first event of a file has the file_version "brain.Event:2".
namespace yoloquant::report {

// CRC-32C (Castagnoli, polynomial 0x82F63B78 reflected), and as TFRecord stores it: rotated right
// by 15 bits plus 0xA282EAD8.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

// `data` as one record.
std::string tf_record(std::string_view data);

class TensorBoardWriter {
 public:
  using Scalar = std::pair<std::string, double>;

  // Makes a new event file in `folder` whose name sorts behind all that are there, and restarts at
  // `first_step`.
  TensorBoardWriter(const std::filesystem::path& folder, int64_t first_step);

  // One event with a value for each tag.
  void add(int64_t step, std::span<const Scalar> scalars);
  // TensorBoard drops the values of `first_step` and later ones, in earlier files too.
  void restart(int64_t first_step);
  // Throws Error when the file cannot be written.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(double wall_time, int64_t step, std::string_view payload);

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace yoloquant::report
