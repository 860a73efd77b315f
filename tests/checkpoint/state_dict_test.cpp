#include "checkpoint/state_dict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace yoloquant::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Value module_with(Entries parameters, Entries children, Entries more = {}) {
  Object object;
  object.type = Value(Global{"torch.nn", "Module"});
  object.state = Value::dict({{"_parameters", Value::dict(std::move(parameters))},
                              {"_modules", Value::dict(std::move(children))}});
  for (auto& entry : more) object.state.mutable_entries().push_back(std::move(entry));
  return Value(std::move(object));
}

std::string error_of(const Value& module) {
  return yoloquant::test::error_of([&] { state_dict_of_module(module); });
}

TEST(StateDict, ParametersThenPersistentBuffersThenChildren) {
  const Tensor tensor(DType::kFloat32, {1});
  const Value child = module_with({{"weight", tensor}, {"bias", {}}}, {});
  const Value module =
      module_with({{"scale", tensor}}, {{"1", child}, {"0", child}, {"none", {}}},
                  {{"_buffers", Value::dict({{"mean", tensor}, {"scratch", tensor}})},
                   {"_non_persistent_buffers_set", Value::set({"scratch"})}});
  EXPECT_THAT(state_dict_of_module(module).order,
              ElementsAre("scale", "mean", "1.weight", "0.weight"));
}

TEST(StateDict, WhatIsNoModule) {
  EXPECT_FALSE(is_module(Value::dict()));
  Object object;
  object.state = Value::dict({{"names", Value::list()}});
  EXPECT_FALSE(is_module(Value(object)));
  EXPECT_TRUE(is_module(module_with({}, {})));
  Entries many;
  for (int i = 0; i < 20'000; ++i) many.emplace_back(i, i);
  EXPECT_FALSE(is_module(module_with({}, {}, std::move(many))));
}

TEST(StateDict, AParameterThatIsNoTensor) {
  EXPECT_EQ(error_of(module_with({}, {{"a", module_with({{"w", 1}}, {})}})),
            "a.w: expected a tensor, found an integer");
}

TEST(StateDict, SharedSubmodulesAreBounded) {
  // Two names for the level below on each of sixty levels: 2^60 modules.
  Value module = module_with({{"w", Tensor(DType::kFloat32, {1})}}, {});
  for (int level = 0; level < 60; ++level) {
    module = module_with({}, {{"a", module}, {"b", module}});
  }
  EXPECT_THAT(error_of(module), HasSubstr("more than"));
}

TEST(StateDict, NestingIsBounded) {
  Value module = module_with({}, {});
  for (int level = 0; level < 600; ++level) module = module_with({}, {{"a", module}});
  EXPECT_THAT(error_of(module), HasSubstr("nested more than 500 deep"));
}

TEST(StateDict, AModuleInsideItself) {
  Value module = module_with({}, {});
  Value children = *module.as_object().attribute("_modules");
  children.set_item("self", Value(BackReference(module)));
  EXPECT_THAT(error_of(module), HasSubstr("contains itself"));
}

TEST(StateDict, PrefixesOfWrappersAreDropped) {
  const Tensor tensor(DType::kFloat32, {1});
  EXPECT_THAT(state_dict_of_dict(Value::dict({{"module.a", tensor}, {"module.b", tensor}})).order,
              ElementsAre("a", "b"));
  EXPECT_THAT(state_dict_of_dict(Value::dict({{"module.a", tensor}, {"b", tensor}})).order,
              ElementsAre("module.a", "b"));
}

}  // namespace
}  // namespace yoloquant::checkpoint
