#include "eval/detections_json.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "data/json_reader.h"

namespace yoloquant::eval {
namespace {

using data::check_json;
using data::get_json;

CocoDetection read_detection(data::json::object object) {
  CocoDetection detection;
  unsigned seen = 0;
  for (auto field : object) {
    if (field.key() == "image_id") {
      detection.image_id = get_json<int64_t>(field.value(), "image_id");
      seen |= 1;
    } else if (field.key() == "category_id") {
      const auto id = get_json<int64_t>(field.value(), "category_id");
      // Ids out of range belong to no data set: -1 is left out of the evaluation like them.
      const bool fits = id >= 0 && id <= std::numeric_limits<int32_t>::max();
      detection.category_id = fits ? static_cast<int32_t>(id) : -1;
      seen |= 2;
    } else if (field.key() == "bbox") {
      double box[4];
      data::get_json_numbers(field.value(), "bbox", box, 4);
      detection.x = box[0];
      detection.y = box[1];
      detection.width = box[2];
      detection.height = box[3];
      seen |= 4;
    } else if (field.key() == "score") {
      detection.score = get_json<double>(field.value(), "score");
      seen |= 8;
    } else {
      check_json(field.error(), "detection");
    }
  }
  if (seen != 15) fail("needs 'image_id', 'category_id', 'bbox' and 'score'");
  return detection;
}

// Makes room for as many as the part read so far promises: growing by doubling would need three
// times the memory in the end.
void grow(const data::JsonArrayStream& stream, std::vector<CocoDetection>& detections) {
  constexpr size_t kEnoughToPredict = size_t{1} << 15;
  constexpr double kMargin = 1.2;
  size_t wanted = std::max<size_t>(1024, detections.size() * 2);
  if (detections.size() >= kEnoughToPredict) {
    const double left =
        static_cast<double>(stream.file_size()) / static_cast<double>(stream.bytes_read());
    wanted = std::max(detections.size() * 5 / 4,
                      static_cast<size_t>(static_cast<double>(detections.size()) *
                                          std::max(left, 1.0) * kMargin));
  }
  detections.reserve(wanted);
}

}  // namespace

std::vector<CocoDetection> read_detections(const std::filesystem::path& path) {
  std::vector<CocoDetection> detections;
  data::JsonArrayStream stream(path);
  data::json::parser parser;
  std::string key;
  if (!stream.next_array(&key) || !key.empty()) {
    fail("{}: not an array of detections", path.string());
  }
  const auto read = [&](data::json::object object, uint64_t) {
    if (detections.size() == detections.capacity()) grow(stream, detections);
    detections.push_back(read_detection(object));
  };
  data::for_each_object(stream, parser, path.string() + ": ", read);
  stream.next_array(&key);  // nothing may follow
  return detections;
}

void write_detections(const std::filesystem::path& path, std::span<const CocoDetection> detections,
                      int digits) {
  write_file(path, [&](std::ostream& out) {
    fmt::memory_buffer text;
    const char* separator = "[";
    for (const CocoDetection& d : detections) {
      if (!std::isfinite(d.score + d.x + d.y + d.width + d.height)) {
        fail("a detection on image {} is not finite", d.image_id);
      }
      fmt::format_to(std::back_inserter(text),
                     "{}{{\"image_id\":{},\"category_id\":{},\"bbox\":[{:.{}f},{:.{}f},{:.{}f},"
                     "{:.{}f}],\"score\":{}}}",
                     separator, d.image_id, d.category_id, d.x, digits, d.y, digits, d.width,
                     digits, d.height, digits, static_cast<float>(d.score));
      separator = ",\n";
      if (text.size() > 1 << 20) {
        out.write(text.data(), static_cast<std::streamsize>(text.size()));
        text.clear();
      }
    }
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out << (detections.empty() ? "[]\n" : "]\n");
  });
}

}  // namespace yoloquant::eval
