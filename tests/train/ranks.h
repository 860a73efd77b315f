#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/launcher.h"
#include "base/rank_environment.h"
#include "train/process_group.h"

// Tests whose body runs in several processes: this program again with the same test, one thread
// each.
namespace yoloquant::train {

inline std::string current_test() {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  return std::string(info->test_suite_name()) + "." + info->name();
}

inline bool loopback_is_allowed() {
  try {
    return free_loopback_port() > 0;
  } catch (const Error&) {
    return false;
  }
}

// Calls `body` in each of `count` processes. What fails there fails the test.
inline void in_processes(int count, const std::function<void(const RankEnvironment&)>& body) {
  if (const auto environment = rank_environment()) {
    body(*environment);
    return;
  }
  if (!loopback_is_allowed()) GTEST_SKIP() << "no sockets on 127.0.0.1 here";
  setenv("OMP_NUM_THREADS", "1", 1);
  try {
    launch_ranks(
        {.command = {"/proc/self/exe", "--gtest_filter=" + current_test(), "--gtest_brief=1"},
         .processes = count});
  } catch (const Error& error) {
    FAIL() << error.what();
  }
}

// The same when they have met.
inline void in_ranks(int count, const std::function<void(ProcessGroup&)>& body) {
  in_processes(count, [&](const RankEnvironment& environment) {
    ProcessGroup group(environment);
    body(group);
    group.barrier();
  });
}

}  // namespace yoloquant::train
