#include "base/launcher.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/parallel.h"
#include "base/rank_environment.h"
#include "base/text.h"

namespace yoloquant {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kKeptBytes = 4096;  // of what a rank wrote
constexpr size_t kShownLines = 3;
constexpr int kPollMilliseconds = 50;

struct Rank {
  int number = 0;
  pid_t process = -1;
  int output = -1;  // read end of a pipe; rank 0 has none
  std::string written;
  bool running = false;
  int status = 0;  // as waitpid gives it

  bool failed() const { return !running && !(WIFEXITED(status) && WEXITSTATUS(status) == 0); }
  bool ended_by(int signal) const {
    return (WIFSIGNALED(status) && WTERMSIG(status) == signal) ||
           (WIFEXITED(status) && WEXITSTATUS(status) == 128 + signal);
  }
};

std::vector<std::string> environment_of(const RankEnvironment& rank) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  variables.try_emplace("OMP_NUM_THREADS",
                        std::to_string(std::max(1, default_threads() / rank.world_size)));
  for (const auto& [name, value] : variables_of(rank)) variables[name] = value;
  std::vector<std::string> entries;
  for (const auto& [name, value] : variables) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The child between fork and exec: only async-signal-safe calls.
[[noreturn]] void become_rank(char* const* arguments, char* const* environment, int output,
                              pid_t parent) {
  // A process group of its own: Ctrl-C reaches the launcher alone, which passes it on once.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  execve(arguments[0], arguments, environment);
  constexpr std::string_view kMessage = "cannot be started: no such program\n";
  if (write(STDERR_FILENO, kMessage.data(), kMessage.size()) < 0) _exit(126);
  _exit(127);
}

class Job {
 public:
  explicit Job(const LaunchOptions& options) : options_(options) {
    if (options.log.empty()) return;
    log_ = open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_ < 0) fail("{}: cannot be written: {}", options.log, std::strerror(errno));
  }
  ~Job() {
    for (Rank& rank : ranks_) {
      if (rank.running) {
        kill(rank.process, SIGKILL);
        waitpid(rank.process, nullptr, 0);
      }
      if (rank.output >= 0) close(rank.output);
    }
    if (log_ >= 0) close(log_);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  void start() {
    const int port = free_loopback_port();
    ranks_.reserve(static_cast<size_t>(options_.processes));
    for (int rank = 0; rank < options_.processes; ++rank) {
      start_rank({.rank = rank,
                  .world_size = options_.processes,
                  .local_rank = rank,
                  .master_port = port});
    }
  }

  void run_to_end() {
    while (std::ranges::any_of(ranks_, &Rank::running)) {
      wait_for_output();
      collect_ended();
      pass_interrupt_on();
      end_after_failure();
    }
    if (failed_ != nullptr) report(*failed_);
    check_interrupt();
  }

 private:
  void start_rank(const RankEnvironment& environment) {
    std::vector<std::string> command = options_.command;
    std::vector<std::string> variables = environment_of(environment);
    const std::vector<char*> arguments = pointers_to(command);
    const std::vector<char*> entries = pointers_to(variables);
    int ends[2] = {-1, -1};
    const bool shown = environment.rank == 0 && log_ < 0;
    if (!shown && pipe2(ends, O_CLOEXEC) != 0) {
      fail("cannot make a pipe for rank {}: {}", environment.rank, std::strerror(errno));
    }
    Rank& rank = ranks_.emplace_back();
    rank.number = environment.rank;
    rank.output = ends[0];
    if (rank.output >= 0) fcntl(rank.output, F_SETFL, O_NONBLOCK);
    const pid_t parent = getpid();
    rank.process = fork();
    if (rank.process == 0) become_rank(arguments.data(), entries.data(), ends[1], parent);
    const int error = errno;
    if (ends[1] >= 0) close(ends[1]);
    if (rank.process < 0) {
      fail("cannot start rank {}: {}", environment.rank, std::strerror(error));
    }
    rank.running = true;
  }

  void wait_for_output() {
    std::vector<pollfd> waiting;
    for (const Rank& rank : ranks_) {
      if (rank.output >= 0) waiting.push_back({.fd = rank.output, .events = POLLIN, .revents = 0});
    }
    poll(waiting.data(), waiting.size(), kPollMilliseconds);
    for (Rank& rank : ranks_) read_output(rank);
  }

  void read_output(Rank& rank) const {
    char buffer[kKeptBytes];
    while (rank.output >= 0) {
      const ssize_t count = read(rank.output, buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) {
        close(rank.output);
        rank.output = -1;
        return;
      }
      if (rank.number == 0) write_log(buffer, static_cast<size_t>(count));
      rank.written.append(buffer, static_cast<size_t>(count));
      if (rank.written.size() > kKeptBytes) {
        rank.written.erase(0, rank.written.size() - kKeptBytes);
      }
    }
  }

  // A full disk is no reason to end the job: what is lost here is only its narration.
  void write_log(const char* text, size_t size) const {
    while (size > 0) {
      const ssize_t count = write(log_, text, size);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      text += count;
      size -= static_cast<size_t>(count);
    }
  }

  void collect_ended() {
    const Rank* cause = nullptr;
    for (Rank& rank : ranks_) {
      if (!rank.running || waitpid(rank.process, &rank.status, WNOHANG) != rank.process) continue;
      rank.running = false;
      read_output(rank);
      if (!rank.failed() || (forwarded_ != 0 && rank.ended_by(forwarded_))) continue;
      // Of those that ended since the last look, one that was killed explains the others.
      const bool killed = WIFSIGNALED(rank.status);
      if (cause == nullptr || (killed && !WIFSIGNALED(cause->status))) cause = &rank;
    }
    if (failed_ != nullptr || cause == nullptr) return;
    failed_ = cause;
    failed_at_ = Clock::now();
  }

  void pass_interrupt_on() {
    if (forwarded_ != 0 || interrupt_signal() == 0) return;
    forwarded_ = interrupt_signal();
    signal_all(forwarded_);
  }

  void end_after_failure() {
    if (failed_ == nullptr) return;
    const auto since = Clock::now() - failed_at_;
    if (forwarded_ == 0 && since > options_.notice) {
      forwarded_ = SIGTERM;
      signal_all(SIGTERM);
    }
    if (since > options_.notice + options_.grace) signal_all(SIGKILL);
  }

  void signal_all(int signal) const {
    for (const Rank& rank : ranks_) {
      if (rank.running) kill(rank.process, signal);
    }
  }

  std::string name_of(const Rank& rank) const {
    if (options_.processes == 1) return "the process";
    return fmt::format("rank {} of {}", rank.number, options_.processes);
  }

  [[noreturn]] void report(const Rank& rank) const {
    const std::string words = last_words(rank);
    if (WIFSIGNALED(rank.status)) {
      const int signal = WTERMSIG(rank.status);
      fail("{} was killed by signal {} ({}{}){}", name_of(rank), signal, strsignal(signal),
           signal == SIGKILL ? "; out of memory?" : "", words);
    }
    const int status = WEXITSTATUS(rank.status);
    throw Error(fmt::format("{} ended with status {}{}", name_of(rank), status, words),
                status == 2 ? Error::Kind::kUsage : Error::Kind::kFailure);
  }

  std::string last_words(const Rank& rank) const {
    if (rank.number == 0 && log_ < 0) return "; what it wrote is above";
    std::string text = rank.written;
    std::ranges::replace(text, '\r', '\n');
    std::vector<std::string> lines;
    for (const std::string& line : split(text, '\n')) {
      if (!trim(line).empty()) lines.push_back(trim(line));
    }
    if (lines.empty()) return " and wrote nothing";
    std::string words;
    for (size_t i = lines.size() - std::min(lines.size(), kShownLines); i < lines.size(); ++i) {
      words += (words.empty() ? "" : " | ") + lines[i];
    }
    std::erase_if(words, [](unsigned char c) { return c < ' ' || c == 127; });
    return "; it wrote last: " + words;
  }

  const LaunchOptions& options_;
  int log_ = -1;
  std::vector<Rank> ranks_;       // reserved: failed_ points into it
  const Rank* failed_ = nullptr;  // the first
  Clock::time_point failed_at_;
  int forwarded_ = 0;  // the signal that all ranks were sent
};

}  // namespace

int free_loopback_port() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const bool found = socket_fd >= 0 && bind(socket_fd, generic, size) == 0 &&
                     getsockname(socket_fd, generic, &size) == 0;
  const int error = errno;
  if (socket_fd >= 0) close(socket_fd);
  if (!found) {
    fail("no port on 127.0.0.1 for the ranks to meet at: {}", std::strerror(error));
  }
  return ntohs(address.sin_port);
}

void launch_ranks(const LaunchOptions& options) {
  if (options.processes < 1) fail_usage("{} processes: at least 1 is needed", options.processes);
  if (options.command.empty()) fail_usage("no program to start");
  Job job(options);
  job.start();
  job.run_to_end();
}

}  // namespace yoloquant
