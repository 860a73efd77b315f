#include "checkpoint/pickle_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/pickle_bytes.h"
#include "checkpoint/pickle_writer.h"
#include "checkpoint/value_text.h"

namespace yoloquant::checkpoint {
namespace {

using test::bytes_of;
using test::global;
using test::le32;
using test::le64;
using test::read_body;
using test::read_error;
using test::text;
using ::testing::HasSubstr;

std::string json_of(const std::string& body) { return to_json(read_body(body)); }

TEST(PickleReader, Scalars) {
  EXPECT_TRUE(read_body("N").is_none());
  EXPECT_TRUE(read_body("\x88").as_bool());
  EXPECT_FALSE(read_body("\x89").as_bool());
  EXPECT_EQ(read_body("K\xFF").as_int(), 255);
  EXPECT_EQ(read_body("M\xFF\xFE").as_int(), 0xFEFF);
  EXPECT_EQ(read_body("J" + le32(0xFFFFFFFE)).as_int(), -2);
  EXPECT_EQ(read_body(std::string("G\x3F\xF8\0\0\0\0\0\0", 9)).as_float(), 1.5);
  EXPECT_EQ(read_body(text("caf\xC3\xA9")).as_string(), "caf\xC3\xA9");
  EXPECT_EQ(read_body(std::string("\x8C\x02hi", 4)).as_string(), "hi");
  EXPECT_EQ(read_body("\x8D" + le64(2) + "hi").as_string(), "hi");
  EXPECT_EQ(read_body("C\x02\xFF\x01").as_bytes(), "\xFF\x01");
}

TEST(PickleReader, LongIntegers) {
  EXPECT_EQ(read_body(std::string("\x8A\x00", 2)).as_int(), 0);
  EXPECT_EQ(read_body("\x8A\x01\xFF").as_int(), -1);
  EXPECT_EQ(read_body("\x8A\x08" + le64(0x8000000000000000)).as_int(), INT64_MIN);
  // 2^64 and -2^64 - 1
  EXPECT_EQ(read_body("\x8A\x09" + le64(0) + "\x01").as_big_int(), "18446744073709551616");
  EXPECT_EQ(read_body("\x8A\x09" + le64(~uint64_t{0}) + "\xFE").as_big_int(),
            "-18446744073709551617");
}

TEST(PickleReader, Containers) {
  EXPECT_EQ(json_of("(K\x01K\x02t"), "[1, 2]");
  EXPECT_EQ(json_of("](K\x01K\x02"
                    "e"),
            "[1, 2]");
  EXPECT_EQ(json_of("]K\x01"
                    "a"),
            "[1]");
  EXPECT_EQ(json_of("}(" + text("a") + "K\x01" + text("b") + "Nu"), R"({"a": 1, "b": null})");
  EXPECT_EQ(read_body("\x8F(K\x01\x90").kind(), Kind::kSet);
  EXPECT_EQ(json_of(global("collections", "OrderedDict") + ")RK\x01K\x02s"), R"({"1": 2})");
  EXPECT_TRUE(read_body(global("collections", "OrderedDict") + ")R").is_ordered_dict());
  EXPECT_EQ(json_of(global("builtins", "set") + "](K\x05"
                                                "e\x85R"),
            "[5]");
}

TEST(PickleReader, LastOfEqualKeysCounts) {
  const Value dict = read_body("}(" + text("a") + "K\x01" + text("a") + "K\x02u");
  EXPECT_EQ(dict.find("a")->as_int(), 2);
}

TEST(PickleReader, SharedContainersStayShared) {
  const Value list = read_body(
      "](]q\x01h\x01"
      "e");
  EXPECT_EQ(list.items()[0].identity(), list.items()[1].identity());
}

TEST(PickleReader, ConstructorsOfPlainData) {
  const std::string f8 = global("numpy", "dtype") + text("f8") + "\x85R";
  const std::string bytes = std::string("C\x08\0\0\0\0\0\0\xF8\x3F", 10);
  EXPECT_EQ(read_body(global("numpy._core.multiarray", "scalar") + f8 + bytes + "\x86R").as_float(),
            1.5);
  EXPECT_EQ(
      read_body(global("pathlib", "PosixPath") + "(" + text("/") + text("a") + text("b.pt") + "tR")
          .as_string(),
      "/a/b.pt");
  EXPECT_EQ(read_body(global("_codecs", "encode") + text("\xC3\xBF") + text("latin1") + "\x86R")
                .as_bytes(),
            "\xFF");
  EXPECT_EQ(json_of(global("collections", "defaultdict") + global("builtins", "int") +
                    "\x85RK\x01K\x02s"),
            R"({"1": 2})");
}

// ---- Nothing in a pickle can run.

TEST(PickleReader, CallsBecomeInertRecords) {
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"os", "system"},
                                                        {"posix", "system"},
                                                        {"builtins", "eval"},
                                                        {"__builtin__", "exec"},
                                                        {"builtins", "__import__"},
                                                        {"subprocess", "Popen"},
                                                        {"torch", "load"},
                                                        {"torch.storage", "_load_from_bytes"}}) {
    const Value value = read_body(global(module, name) + text("touch /tmp/hacked") + "\x85R");
    ASSERT_TRUE(value.is_object()) << name;
    EXPECT_EQ(value.as_object().type_name(), module + "." + name);
    EXPECT_EQ(value.as_object().args.items()[0].as_string(), "touch /tmp/hacked");
  }
}

TEST(PickleReader, NestedCallsBecomeInertRecords) {
  // getattr(__import__("os"), "system")("id")
  const std::string import = global("builtins", "__import__") + text("os") + "\x85R";
  const std::string getattr = global("builtins", "getattr") + import + text("system") + "\x86R";
  const Value value = read_body(getattr + text("id") + "\x85R");
  EXPECT_EQ(value.as_object().type_name(), "<call>");
  const Object& callee = value.as_object().type.as_object();
  EXPECT_EQ(callee.type_name(), "builtins.getattr");
  EXPECT_EQ(callee.args.items()[0].as_object().type_name(), "builtins.__import__");
}

TEST(PickleReader, InstancesKeepTheirState) {
  const Value value = read_body(global("a.b", "C") + ")\x81}" + text("x") + "K\x07sb");
  EXPECT_EQ(value.as_object().type_name(), "a.b.C");
  EXPECT_EQ(value.as_object().attribute("x")->as_int(), 7);
  EXPECT_EQ(value.as_object().attribute("y"), nullptr);
}

TEST(PickleReader, StackGlobal) {
  const Value value = read_body(text("os") + text("system") + "\x93)R");
  EXPECT_EQ(value.as_object().type_name(), "os.system");
}

// ---- Objects inside themselves.

TEST(PickleReader, ListInsideItself) {
  const Value list = read_body(
      "]q\x01h\x01"
      "a");
  const Value& inner = list.items()[0];
  ASSERT_EQ(inner.kind(), Kind::kBackReference);
  EXPECT_EQ(inner.resolve().identity(), list.identity());
}

TEST(PickleReader, ObjectWhosePartsReferToIt) {
  // c = C(); c.child = {"parent": c}
  const Value value = read_body(global("m", "C") + ")\x81q\x01}" + text("child") + "}" +
                                text("parent") + "h\x01ssb");
  const Value* parent = value.as_object().attribute("child")->find("parent");
  EXPECT_EQ(parent->resolve().identity(), value.identity());
  EXPECT_EQ(to_json(to_plain(value)), R"({"child": {"parent": null}})");
}

TEST(PickleReader, BackReferenceOutlivedByItsHolder) {
  Value inner;
  {
    const Value list = read_body(
        "]q\x01]h\x01"
        "aa");  // [[<the outer list>]]
    inner = list.items()[0];
  }
  EXPECT_TRUE(inner.items()[0].resolve().is_none());
}

TEST(PickleReader, UnreachableCyclesAreFreed) {
  // Leak detection of the sanitizer build watches this one.
  EXPECT_TRUE(read_body("]q\x01h\x01"
                        "a0N")
                  .is_none());
}

// ---- Limits.

TEST(PickleReader, DeepNestingIsAnError) {
  const std::string tuples = "N" + std::string(200'000, '\x85');
  const std::string lists = std::string(200'000, ']') + std::string(199'999, 'a');
  for (const std::string& body : {tuples, lists}) {
    EXPECT_THAT(read_error(body), HasSubstr("nested more than 500 deep"));
  }
}

TEST(PickleReader, DeepestNestingThatIsRead) {
  const std::string body = std::string(498, ']') + "(K\x01t" + std::string(498, 'a');
  const Value value = read_body(body);
  EXPECT_EQ(to_json(value), std::string(499, '[') + "1" + std::string(499, ']'));
  EXPECT_NO_THROW(to_yaml(value));
  const std::string pickle = write_pickle_with_tensors(to_plain(value)).pickle;
  PickleHooks hooks;
  EXPECT_EQ(to_json(read_pickle(bytes_of(pickle), "p", hooks)), to_json(value));
}

TEST(PickleReader, DeepChainGrownAtTheInnerEnd) {
  // Each list is appended to the one before, which is inside the first by then.
  std::string body = "]q\x01";
  for (int i = 0; i < 100'000; ++i)
    body +=
        "]q\x02"
        "a0h\x02";
  EXPECT_EQ(read_error(body), "");  // only the last one is left
  EXPECT_THAT(read_error(body + "0h\x01"), HasSubstr("nested more than 500 deep"));
}

TEST(PickleReader, MemoBombStaysSmall) {
  // Sixty lists, each holding the one before twice: 2^60 values if they were copied.
  std::string body = "]q\x01";
  for (int i = 0; i < 60; ++i)
    body +=
        "0](h\x01h\x01"
        "eq\x01";
  const Value value = read_body(body);
  EXPECT_EQ(value.items().size(), 2U);
  EXPECT_THROW(to_json(value), Error);
  EXPECT_THROW(to_yaml(value), Error);
  EXPECT_LT(write_pickle_with_tensors(to_plain(value)).pickle.size(), 2000U);
}

TEST(PickleReader, RepeatedCopiesOfALargeArgumentAreCounted) {
  std::string body = global("builtins", "set") + "q\x01" + "0](";
  for (int i = 0; i < 1000; ++i) body += "K\x01";
  body +=
      "e\x85q\x02"
      "0(";
  for (int i = 0; i < 2000; ++i) body += "h\x01h\x02R";
  body += "t";
  EXPECT_EQ(read_error(body), "");
  PickleLimits limits;
  limits.max_items = 100'000;
  EXPECT_THAT(read_error(body, limits), HasSubstr("more than 100000 values"));
}

TEST(PickleReader, HugeDeclaredSizes) {
  EXPECT_THAT(read_error("X" + le32(0xFFFFFFFF) + "abc"), HasSubstr("4294967295 bytes are needed"));
  EXPECT_THAT(read_error("\x8D" + le64(~uint64_t{0})), HasSubstr("are left"));
  EXPECT_THAT(read_error("\x8B" + le32(0x7FFFFFFF)), HasSubstr("integer of 2147483647 bytes"));
  EXPECT_THAT(read_error("\x95" + le64(uint64_t{1} << 60) + "N"), HasSubstr("frame of"));
  EXPECT_THAT(read_error("Nr" + le32(0xFFFFFFF0)), HasSubstr("memo index 4294967280 is too large"));
}

TEST(PickleReader, MalformedPickles) {
  EXPECT_EQ(read_error("h\x07"), "data.pkl, byte 2: memo index 7 was never stored");
  EXPECT_THAT(read_error(""), HasSubstr("byte 2: the stack is empty"));
  EXPECT_THAT(read_error("NN"), HasSubstr("1 values are left over"));
  EXPECT_THAT(read_error("t"), HasSubstr("no mark"));
  EXPECT_THAT(read_error("N(R"), HasSubstr("the stack is empty"));
  EXPECT_THAT(read_error("N(K\x01u"), HasSubstr("a key without value"));
  EXPECT_THAT(read_error("NK\x01"
                         "a"),
              HasSubstr("expected a list to append to, found None"));
  EXPECT_THAT(read_error("NNR"), HasSubstr("expected a tuple of arguments"));
  EXPECT_THAT(read_error("NNb"), HasSubstr("a state for None"));
  EXPECT_THAT(read_error("X\x01" + std::string("\0\0\0\xFF", 4)), HasSubstr("not UTF-8"));
  EXPECT_THAT(read_error("cos"), HasSubstr("a line without end"));
  EXPECT_THAT(read_error(text("7") + "Q"), HasSubstr("refers to data outside"));
  EXPECT_THAT(read_error("I1\n"), HasSubstr("opcode 0x49"));
  EXPECT_THAT(read_error("\x82\x01"), HasSubstr("extension codes"));
  EXPECT_THAT(read_error("\x97"), HasSubstr("out-of-band"));
  EXPECT_THAT(read_error("\x80\x06"), HasSubstr("protocol 6"));
  EXPECT_THAT(read_error("\x80\x01"), HasSubstr("protocol 1"));
}

TEST(PickleReader, TruncatedAtEveryByte) {
  const std::string pickle =
      test::protocol2(global("m", "C") + ")\x81q\x01}(" + text("a") + "](K\x01M\x01\x02J" +
                      le32(7) + "e" + text("b") + "\x8A\x02\x01\x02" + "u" + "b");
  PickleHooks hooks;
  EXPECT_NO_THROW(read_pickle(bytes_of(pickle), "p", hooks));
  for (size_t size = 0; size < pickle.size(); ++size) {
    EXPECT_THROW(read_pickle(bytes_of(pickle.substr(0, size)), "p", hooks), Error) << size;
  }
}

}  // namespace
}  // namespace yoloquant::checkpoint
