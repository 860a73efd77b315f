#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace yoloquant {

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014).
constexpr uint64_t splitmix64_mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// 64-bit FNV-1a hash.
constexpr uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

// SplitMix64: small, seedable, the same on every machine (unlike <random>'s distributions).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() { return splitmix64_mix(state_ += 0x9E3779B97F4A7C15ULL); }

  // In [0, 1), 24 random bits.
  float uniform() { return static_cast<float>(next() >> 40) / 16777216.0F; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }

  // In [0, bound). REQUIRES: bound > 0.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

  // Fisher-Yates.
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

  uint64_t state() const { return state_; }

 private:
  __extension__ using Wide = unsigned __int128;

  uint64_t state_;
};

}  // namespace yoloquant
