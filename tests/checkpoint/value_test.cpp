#include "checkpoint/value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "checkpoint/pickle_scalars.h"
#include "checkpoint/value_text.h"
#include "support/error_of.h"

namespace yoloquant::checkpoint {
namespace {

using yoloquant::test::error_of;
TEST(Value, AccessorsNameBothKinds) {
  EXPECT_EQ(error_of([] { (void)Value(1).as_string(); }), "expected a string, found an integer");
  EXPECT_EQ(error_of([] { (void)Value::dict().items(); }), "expected a list, found a dict");
  EXPECT_EQ(Value(3).as_float(), 3.0);
}

TEST(Value, DictsReplaceAndAdd) {
  Value dict = Value::dict();
  dict.set_item("a", 1);
  dict.set_item("b", 2);
  dict.set_item("a", "x");
  EXPECT_EQ(to_json(dict), R"({"a": "x", "b": 2})");
  EXPECT_EQ(dict.find("c"), nullptr);
}

TEST(Value, CopiesShareContainers) {
  const Value list = Value::list({1});
  Value copy = list;
  copy.mutable_items().emplace_back(2);
  EXPECT_EQ(list.items().size(), 2U);
}

TEST(Value, ToPlainKeepsSharingAndDropsClasses) {
  Object object;
  object.type = Value(Global{"m", "Namespace"});
  object.state = Value::dict({{"lr", 0.1}});
  Object opaque;
  opaque.type = Value(Global{"m", "Opaque"});
  const Value shared = Value::list({Value(std::move(object))});
  const Value plain =
      to_plain(Value::tuple({shared, shared, Value(std::move(opaque)), Value(Global{"a", "b"})}));
  EXPECT_EQ(to_json(plain), R"([[{"lr": 0.1}], [{"lr": 0.1}], "m.Opaque", "a.b"])");
  EXPECT_EQ(plain.items()[0].identity(), plain.items()[1].identity());
}

TEST(ValueText, Json) {
  EXPECT_EQ(to_json(Value::dict({{0, "a\"b\n\x01"},
                                 {"f", 1.0},
                                 {"nan", std::numeric_limits<double>::quiet_NaN()},
                                 {"t", Tensor(DType::kFloat16, {2, 3})},
                                 {"b", true}})),
            R"({"0": "a\"b\n\u0001", "f": 1.0, "nan": null, "t": "float16 [2, 3]", "b": true})");
}

TEST(ValueText, JsonRoundTrip) {
  const std::string text =
      R"({"b": [1, -2.5, null, true, "x"], "a": {}, "big": 18446744073709551615})";
  EXPECT_EQ(to_json(parse_json(text)), text);
}

TEST(ValueText, MalformedJson) {
  EXPECT_THAT(error_of([] { parse_json("{\"a\": }"); }), ::testing::HasSubstr("byte 7"));
  EXPECT_THAT(error_of([] { parse_json(std::string(100'000, '[')); }),
              ::testing::HasSubstr("nested more than"));
}

TEST(ValueText, Yaml) {
  const Value model = Value::dict(
      {{"nc", 80},
       {"scales", Value::dict({{"n", Value::list({0.33, 0.25, 1024})}})},
       {"backbone",
        Value::list({Value::list({-1, 1, "Conv", Value::list({64, 3, 2})}),
                     Value::list({-1, 1, "nn.Upsample", Value::list({"None", 2, "nearest"})})})},
       {"names", Value::dict({{0, "traffic light"}, {1, "no"}})},
       {"empty", Value::list()},
       {"rows", Value::list({Value::dict({{"a", 1}})})}});
  EXPECT_EQ(to_yaml(model), R"(nc: 80
scales:
  n: [0.33, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
names:
  0: "traffic light"
  1: "no"
empty: []
rows:
  -
    a: 1
)");
}

TEST(PickleScalars, IntegersToBytesAndBack) {
  for (const std::string text : {"18446744073709551616", "-18446744073709551617", "-1", "0",
                                 "340282366920938463463374607431768211455"}) {
    const std::string bytes = integer_to_bytes(Value(BigInt{text}));
    const Value back = integer_from_bytes(std::as_bytes(std::span(bytes)));
    EXPECT_EQ(back.kind() == Kind::kInt ? std::to_string(back.as_int()) : back.as_big_int(), text);
  }
}

TEST(PickleScalars, Utf8) {
  EXPECT_TRUE(is_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF5\x80\x80\x80", "\xF4\x90\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace yoloquant::checkpoint
