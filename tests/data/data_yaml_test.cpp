#include "data/data_yaml.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class DataYamlFile : public testing::Test {
 protected:
  DataYaml read(const std::string& text) {
    write_file(folder_ / "data.yaml", text);
    return read_data_yaml(folder_ / "data.yaml");
  }
  std::string message(const std::string& text) {
    return test::error_of([&] { read(text); });
  }
  void touch(const fs::path& name) { write_file(folder_ / name, std::string_view("x")); }

  test::TemporaryFolder folder_;
};

TEST_F(DataYamlFile, NamesAsListOrMap) {
  EXPECT_THAT(read("train: t\nval: v\nnames: [cat, dog]").names, ElementsAre("cat", "dog"));
  EXPECT_THAT(read("train: t\nval: v\nnc: 2\nnames: {1: dog, 0: cat}").names,
              ElementsAre("cat", "dog"));
  EXPECT_THAT(read("train: t\nvalidation: v\nnc: 2").names, ElementsAre("class_0", "class_1"));
}

TEST_F(DataYamlFile, SourcesAreRelativeToThePath) {
  fs::create_directories(folder_ / "set/images/train");
  const DataYaml data =
      read("path: set\ntrain: [images/train, /far/list.txt]\nval: ../images/train\ntest:\nnc: 1");
  EXPECT_EQ(data.root, folder_ / "set");
  EXPECT_THAT(data.train, ElementsAre(folder_ / "set/images/train", "/far/list.txt"));
  EXPECT_THAT(data.val, ElementsAre(folder_ / "set/images/train"));
  EXPECT_TRUE(data.test.empty());
  EXPECT_EQ(read("train: t\nval: v\nnc: 1").root, folder_.path());
}

TEST_F(DataYamlFile, WhatMakesNoSenseIsNamed) {
  EXPECT_THAT(message("train: t\nnc: 1"), HasSubstr("data.yaml: 'val' is missing"));
  EXPECT_THAT(message("val: t\nnc: 1"), HasSubstr("'train' is missing"));
  EXPECT_THAT(message("train: t\nval: v"), HasSubstr("'names' or 'nc'"));
  EXPECT_THAT(message("train: t\nval: v\nnc: 3\nnames: [a]"), HasSubstr("'nc' is 3"));
  EXPECT_THAT(message("train: t\nval: v\nnc: 1.5"), HasSubstr("'1.5' is no integer"));
  EXPECT_THAT(message("train: t\nval: v\nnc: 99999999999"), HasSubstr("is no integer"));
  EXPECT_THAT(message("train: t\nval: v\nnames: {0: a, 2: b}"), HasSubstr("and 2 is not"));
  EXPECT_THAT(message("train: t\nval: v\nnames: []"), HasSubstr("no class"));
  EXPECT_THAT(message("train: {a: b}\nval: v\nnc: 1"), HasSubstr("'train': expected text"));
  EXPECT_THAT(message("train: [\n"), HasSubstr("data.yaml: line "));
  EXPECT_THAT(message("just text"), HasSubstr("not a data.yaml"));
}

TEST_F(DataYamlFile, WrittenFileComesBack) {
  DataYaml data = read("train: [a, b]\nval: /else/where\nnames: ['yes', \"a: b\", '3']");
  data.file = folder_ / "copy.yaml";
  write_data_yaml(data);
  const DataYaml back = read_data_yaml(data.file);
  EXPECT_EQ(back.names, data.names);
  EXPECT_EQ(back.train, data.train);
  EXPECT_EQ(back.val, data.val);
}

TEST_F(DataYamlFile, ImagesOfFoldersAndLists) {
  touch("images/b.jpg");
  touch("images/deep/a.PNG");
  touch("images/notes.txt");
  touch("more/c.jpg");
  fs::create_directory_symlink(folder_ / "more", folder_ / "images/linked");
  fs::create_directory_symlink(folder_ / "images", folder_ / "images/loop");
  const fs::path& root = folder_.path();
  EXPECT_THAT(
      split_images({root / "images"}, root),
      ElementsAre(root / "images/b.jpg", root / "images/deep/a.PNG", root / "images/linked/c.jpg"));
  write_file(root / "lists/l.txt",
             std::string_view("\xEF\xBB\xBF../more/c.jpg\r\n# no\n\nimages/b.jpg\n./gone.jpg\n"));
  EXPECT_THAT(split_images({root / "lists/l.txt", root / "more/c.jpg"}, root),
              ElementsAre(root / "images/b.jpg", root / "lists/gone.jpg", root / "more/c.jpg",
                          root / "more/c.jpg"));
  EXPECT_THROW(split_images({root / "nowhere"}, root), Error);
  fs::create_directory(root / "empty");
  EXPECT_THROW(split_images({root / "empty"}, root), Error);
}

TEST(DrawFraction, DependsOnTheSeedAloneAndIsNested) {
  ImageList images;
  for (int i = 100; i < 200; ++i) images.emplace_back("/x/" + std::to_string(i) + ".jpg");
  const ImageList tenth = draw_fraction(images, 0.1, 7);
  const ImageList half = draw_fraction(images, 0.5, 7);
  EXPECT_EQ(tenth.size(), 10U);
  EXPECT_EQ(half.size(), 50U);
  EXPECT_TRUE(std::ranges::is_sorted(half));
  EXPECT_TRUE(std::ranges::includes(half, tenth));
  EXPECT_EQ(draw_fraction(images, 0.1, 7), tenth);
  EXPECT_NE(draw_fraction(images, 0.1, 8), tenth);
  EXPECT_EQ(draw_fraction(images, 1, 7), images);
  EXPECT_EQ(draw_fraction(images, 0.0001, 7).size(), 1U);
  EXPECT_THROW(draw_fraction(images, 0, 7), Error);
  EXPECT_THROW(draw_fraction(images, 1.01, 7), Error);
}

}  // namespace
}  // namespace yoloquant::data
