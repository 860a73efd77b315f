#include "data/train_loader.h"

#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_labels.h"
#include "data/image_cache.h"
#include "data/shapes.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

using testing::HasSubstr;

bool equal(const TrainBatch& a, const TrainBatch& b) {
  return a.epoch == b.epoch && a.index == b.index && a.count == b.count && a.size == b.size &&
         a.samples == b.samples && a.pixels == b.pixels && a.labels == b.labels;
}

// 23 images of 40..62 x 50 pixels in batches of 4.
class Training : public testing::Test {
 protected:
  Training() {
    for (uint64_t i = 0; i < 23; ++i) {
      const auto path = folder_ / (std::to_string(i) + ".png");
      const ShapesImage made = render_shapes(40 + static_cast<int>(i), 50, 3, i);
      write_image(path, made.image);
      LabeledImage& entry = images_.emplace_back(path, made.image.width, made.image.height);
      for (const ShapeObject& object : made.objects) {
        const Box& box = object.box;
        entry.labels.push_back({object.class_id, (box.x1 + box.x2) / 2 / entry.width,
                                (box.y1 + box.y2) / 2 / entry.height, box.width() / entry.width,
                                box.height() / entry.height});
      }
    }
  }

  std::vector<TrainBatch> epoch(TrainLoader& loader, int64_t number, int64_t first = 0,
                                bool close_mosaic = false) {
    loader.start(number, first, close_mosaic);
    std::vector<TrainBatch> batches;
    for (TrainBatch batch; loader.next(batch);) batches.push_back(batch);
    TrainBatch more;
    EXPECT_FALSE(loader.next(more));
    return batches;
  }
  std::vector<TrainBatch> epoch(const TrainLoaderOptions& options, int64_t number) {
    TrainLoader loader(images_, options);
    return epoch(loader, number);
  }

  test::TemporaryFolder folder_;
  std::vector<LabeledImage> images_;
  const TrainLoaderOptions options_{.image_size = 32, .batch_size = 4, .seed = 9};
};

TEST_F(Training, BitIdenticalForAnyThreadsPrefetchAndCache) {
  TrainLoaderOptions options = options_;
  options.augment.mixup = 0.2;
  const std::vector<TrainBatch> expected = epoch(options, 3);
  ASSERT_EQ(expected.size(), 6U);
  EXPECT_EQ(expected.back().count, 3);
  for (const int threads : {2, 5, 11}) {
    for (const int prefetch : {1, 4}) {
      options.threads = threads;
      options.prefetch = prefetch;
      options.cache_bytes = prefetch == 1 ? 0 : 20000;
      const std::vector<TrainBatch> got = epoch(options, 3);
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(equal(got[i], expected[i])) << threads << ' ' << prefetch << ' ' << i;
      }
    }
  }
}

TEST_F(Training, EpochsAndSeedsDiffer) {
  TrainLoader loader(images_, options_);
  const auto first = epoch(loader, 0);
  const auto second = epoch(loader, 1);
  EXPECT_NE(first[0].samples, second[0].samples);
  EXPECT_TRUE(equal(epoch(loader, 0)[0], first[0]));
  TrainLoaderOptions other = options_;
  other.seed = 10;
  EXPECT_NE(epoch(other, 0)[0].samples, first[0].samples);
}

TEST_F(Training, EachImageOnceAnEpoch) {
  std::multiset<size_t> seen;
  for (const TrainBatch& batch : epoch(options_, 2)) {
    EXPECT_EQ(batch.epoch, 2);
    EXPECT_EQ(batch.pixels.size(), static_cast<size_t>(batch.count) * 3 * 32 * 32);
    seen.insert(batch.samples.begin(), batch.samples.end());
  }
  EXPECT_EQ(seen.size(), 23U);
  EXPECT_EQ(std::set<size_t>(seen.begin(), seen.end()).size(), 23U);
}

TEST_F(Training, StartsInTheMiddleAsIfItHadComeThere) {
  TrainLoader loader(images_, options_);
  const auto whole = epoch(loader, 4);
  const auto rest = epoch(loader, 4, 2);
  ASSERT_EQ(rest.size(), 4U);
  for (size_t i = 0; i < rest.size(); ++i) EXPECT_TRUE(equal(rest[i], whole[i + 2])) << i;
  EXPECT_TRUE(epoch(loader, 4, 6).empty());
  EXPECT_THROW(loader.start(4, 7), Error);
  EXPECT_THROW(loader.start(4, -1), Error);
}

TEST_F(Training, RestartAndEndInTheMiddle) {
  TrainLoaderOptions options = options_;
  options.threads = 3;
  TrainLoader loader(images_, options);
  const auto expected = epoch(loader, 1);
  loader.start(0);
  TrainBatch batch;
  ASSERT_TRUE(loader.next(batch));
  loader.start(1);
  ASSERT_TRUE(loader.next(batch));
  EXPECT_TRUE(equal(batch, expected[0]));
  // The destructor stops the workers here; another loader never starts.
  const TrainLoader idle(images_, options);
}

// 20 images in 2 processes with batches of 2: together they give the batches of 4.
TEST_F(Training, ProcessesTogetherGiveTheBatchesOfOne) {
  images_.pop_back();
  images_.pop_back();
  images_.pop_back();
  const auto one = epoch(options_, 5);
  TrainLoaderOptions options = options_;
  options.batch_size = 2;
  options.shard = {0, 2};
  const auto even = epoch(options, 5);
  options.shard = {1, 2};
  const auto odd = epoch(options, 5);
  ASSERT_EQ(even.size(), one.size());
  ASSERT_EQ(odd.size(), one.size());
  const size_t bytes = 3 * 32 * 32;
  for (size_t b = 0; b < one.size(); ++b) {
    for (size_t i = 0; i < 4; ++i) {
      const TrainBatch& part = i % 2 == 0 ? even[b] : odd[b];
      ASSERT_EQ(part.samples[i / 2], one[b].samples[i]);
      const auto image = [&](const TrainBatch& batch, size_t slot) {
        return std::vector<uint8_t>(batch.pixels.begin() + std::ptrdiff_t(slot * bytes),
                                    batch.pixels.begin() + std::ptrdiff_t((slot + 1) * bytes));
      };
      EXPECT_EQ(image(part, i / 2), image(one[b], i));
    }
  }
}

TEST(Sampler, ShardsAreEquallyLongAndWrapAround) {
  EXPECT_EQ(shard_positions(5, {0, 2}), (std::vector<size_t>{0, 2, 4}));
  EXPECT_EQ(shard_positions(5, {1, 2}), (std::vector<size_t>{1, 3, 0}));
  EXPECT_EQ(shard_positions(1, {2, 3}), (std::vector<size_t>{0}));
  EXPECT_THROW(shard_positions(5, {2, 2}), Error);
}

TEST(Sampler, OrderOfAnEpoch) {
  EXPECT_EQ(epoch_order(4, 1, 1, false), (std::vector<size_t>{0, 1, 2, 3}));
  const auto order = epoch_order(100, 1, 1, true);
  EXPECT_EQ(order, epoch_order(100, 1, 1, true));
  EXPECT_NE(order, epoch_order(100, 1, 2, true));
  EXPECT_NE(order, epoch_order(100, 2, 1, true));
  EXPECT_NE(sample_random(1, 2, 3).next(), sample_random(1, 2, 4).next());
  EXPECT_NE(sample_random(1, 2, 3).next(), sample_random(1, 3, 3).next());
  EXPECT_NE(sample_random(1, 2, 3).next(), sample_random(2, 2, 3).next());
}

// With one image in the window, a mosaic shows that image four times.
TEST_F(Training, PartnersComeFromTheWindow) {
  for (size_t i = 0; i < images_.size(); ++i) {  // each of one colour
    Image image(50, 50);
    std::ranges::fill(image.bgr, static_cast<uint8_t>(i));
    write_image(images_[i].image, image);
  }
  TrainLoaderOptions options = options_;
  options.augment = AugmentOptions::none();
  options.augment.mosaic = 1;
  options.partner_window = 1;
  for (const TrainBatch& batch : epoch(options, 0)) {
    for (size_t i = 0; i < batch.samples.size(); ++i) {
      for (size_t p = i * 3072; p < (i + 1) * 3072; p += 7) {
        ASSERT_TRUE(batch.pixels[p] == batch.samples[i] || batch.pixels[p] == 114);
      }
    }
  }
}

TEST_F(Training, ClosedMosaicShowsOneImage) {
  TrainLoaderOptions options = options_;
  options.shuffle = false;
  options.augment = AugmentOptions::none();
  options.augment.mosaic = 1;
  TrainLoader loader(images_, options);
  const TrainBatch open = epoch(loader, 0)[0];
  const TrainBatch closed = epoch(loader, 0, 0, true)[0];
  EXPECT_NE(open.pixels, closed.pixels);
  ASSERT_EQ(closed.samples[0], 0U);
  // The first image is 40 x 50, hence 26 x 32 in the middle of 32 x 32.
  EXPECT_EQ(closed.pixels[2], 114);
  size_t objects = 0;
  for (const BatchLabel& label : closed.labels) {
    if (label.image != 0) continue;
    const YoloLabel& expected = images_[0].labels[objects++];
    EXPECT_EQ(label.class_id, expected.class_id);
    EXPECT_NEAR(label.x, (expected.x * 26 + 3) / 32, 1e-6);
    EXPECT_NEAR(label.width, expected.width * 26 / 32, 1e-6);
    EXPECT_NEAR(label.y, expected.y, 1e-6);
  }
  EXPECT_EQ(objects, images_[0].labels.size());
}

TEST_F(Training, ABrokenImageReachesTheCallerAndTheRestGoesOn) {
  std::filesystem::remove(images_[7].image);
  TrainLoaderOptions options = options_;
  options.threads = 3;
  options.augment = AugmentOptions::none();
  TrainLoader loader(images_, options);
  loader.start(0);
  int good = 0;
  std::string errors;
  for (bool more = true; more;) {
    TrainBatch batch;
    try {
      more = loader.next(batch);
      good += more ? 1 : 0;
    } catch (const Error& error) {
      errors += error.what();
    }
  }
  EXPECT_EQ(good, 5);
  EXPECT_THAT(errors, HasSubstr("7.png: cannot open"));
}

TEST_F(Training, OptionsAreChecked) {
  const auto make = [&](auto change) {
    TrainLoaderOptions options = options_;
    change(options);
    return std::make_unique<TrainLoader>(images_, options);
  };
  EXPECT_THROW(make([](auto& o) { o.batch_size = 0; }), Error);
  EXPECT_THROW(make([](auto& o) { o.image_size = 100000; }), Error);
  EXPECT_THROW(make([](auto& o) { o.prefetch = 0; }), Error);
  EXPECT_THROW(make([](auto& o) { o.shard = {1, 1}; }), Error);
  EXPECT_THROW(make([](auto& o) { o.augment.scale = 1; }), Error);
  images_.clear();
  EXPECT_THROW(make([](auto&) {}), Error);
}

TEST(TrainBatch, FloatsAreParts) {
  TrainBatch batch;
  batch.pixels = {0, 51, 255};
  std::vector<float> input(3);
  batch.to_float(input);
  EXPECT_EQ(input, (std::vector<float>{0, 51 / 255.0F, 1}));
  input.pop_back();
  EXPECT_THROW(batch.to_float(input), Error);
}

TEST(ImageCache, DropsWhatWasNotUsedForLongest) {
  ImageCache cache(2 * 3 * 16);
  int loads = 0;
  const auto get = [&](size_t index) {
    return cache.get(index, [&] {
      ++loads;
      return Image(4, 4);
    });
  };
  get(1);
  get(2);
  get(1);
  const auto third = get(3);  // drops 2
  EXPECT_EQ(loads, 3);
  EXPECT_EQ(cache.bytes(), 96U);
  get(1);
  EXPECT_EQ(get(3), third);
  EXPECT_EQ(loads, 3);
  get(2);
  EXPECT_EQ(loads, 4);
  EXPECT_THROW(cache.get(9, []() -> Image { fail("broken"); }), Error);
  cache.get(5, [] { return Image(40, 40); });  // larger than the cache: given, not kept
  EXPECT_EQ(cache.bytes(), 96U);
}

TEST(TrainLoaderOnRealImages, GivesBatchesOfCoco) {
  YQ_REQUIRE_SHARED();
  const test::TemporaryFolder folder;
  const CocoLabels made =
      write_coco_labels(test::shared_data() / "coco", folder / "data", {.fraction = 0.1});
  LabelScan scan = scan_labels(split_images(made.data.train, made.data.root), made.data.classes());
  EXPECT_EQ(scan.images.size(), 13U);
  EXPECT_TRUE(scan.problems.empty());
  TrainLoader loader(std::move(scan.images), {.image_size = 160, .batch_size = 8});
  EXPECT_EQ(loader.batches(), 2);
  loader.start(0);
  TrainBatch batch;
  ASSERT_TRUE(loader.next(batch));
  EXPECT_GT(batch.labels.size(), 8U);
  for (const BatchLabel& label : batch.labels) {
    EXPECT_GE(label.class_id, 0);
    EXPECT_LT(label.class_id, 80);
    EXPECT_GE(label.x - label.width / 2, -1e-6F);
    EXPECT_LE(label.x + label.width / 2, 1 + 1e-6F);
    EXPECT_GT(label.height, 2.0F / 160);
  }
}

}  // namespace
}  // namespace yoloquant::data
