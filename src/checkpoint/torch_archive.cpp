#include "checkpoint/torch_archive.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "checkpoint/pickle_writer.h"
#include "checkpoint/torch_hooks.h"
#include "checkpoint/zip_archive.h"

namespace yoloquant::checkpoint {

namespace {

// A legacy file starts with the pickle of torch's magic number 0x1950A86A20F9469CFC6C.
constexpr std::string_view kLegacyMagic = "\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";

void require_zip(std::string_view head) {
  if (head.starts_with("PK")) return;
  if (head.size() >= 2 && head.substr(2).starts_with(kLegacyMagic)) {
    fail(
        "written in the format of torch before 1.6; convert it with torch.save(torch.load(...)) of "
        "a newer torch");
  }
  fail("not a torch checkpoint: no zip archive");
}

// The name of the archive with its slash.
std::string archive_prefix(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::string prefix;
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!entry.name.ends_with(kPickle)) continue;
    const std::string_view root = entry.name.substr(0, entry.name.size() - kPickle.size());
    if (root.find('/') == std::string_view::npos) prefix = std::string(root) + "/";
  }
  if (prefix.empty()) fail("not a torch checkpoint: the zip archive has no data.pkl");
  if (archive.find(prefix + "constants.pkl") != nullptr) {
    fail("a TorchScript program, not a checkpoint; use the file that it was made from");
  }
  return prefix;
}

void require_little_endian(const ZipArchive& archive, const std::string& prefix) {
  const ZipArchive::Entry* entry = archive.find(prefix + "byteorder");
  if (entry == nullptr) return;  // written by torch before 2.1 on a little-endian machine
  const auto bytes = archive.contents(*entry);
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order != "little") fail("written on a big-endian machine, which is not supported");
}

// Strided views may be larger than the storage below them, but not without bound.
size_t max_tensor_bytes(size_t file_size) { return 16 * file_size + (size_t{16} << 20); }

}  // namespace

Value read_torch_bytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                       const TorchReadOptions& options) {
  require_zip({reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 64)});
  const ZipArchive archive(bytes);
  const std::string prefix = archive_prefix(archive);
  require_little_endian(archive, prefix);
  const auto pickle =
      archive.contents(*archive.find(prefix + "data.pkl"), options.verify_checksums);
  TorchHooks hooks(archive, prefix, std::move(owner), options.verify_checksums,
                   max_tensor_bytes(bytes.size()));
  return read_pickle(pickle, "data.pkl", hooks, options.limits);
}

Value read_torch_file(const std::filesystem::path& path, const TorchReadOptions& options) {
  const auto file = std::make_shared<const MappedFile>(path);
  return with_context(path.string(),
                      [&] { return read_torch_bytes(file->bytes(), file, options); });
}

void write_torch_file(const std::filesystem::path& path, const Value& value,
                      ZipWriter::Zip64 zip64) {
  const PickledTensors pickled =
      with_context(path.string(), [&] { return write_pickle_with_tensors(value); });
  write_file(path, [&](std::ostream& stream) {
    ZipWriter archive(stream, zip64);
    archive.add("archive/data.pkl", pickled.pickle);
    archive.add("archive/byteorder", "little");
    for (size_t i = 0; i < pickled.storages.size(); ++i) {
      archive.add(fmt::format("archive/data/{}", i), pickled.storages[i].bytes());
    }
    archive.add("archive/version", "3\n");
    archive.finish();
  });
}

}  // namespace yoloquant::checkpoint
