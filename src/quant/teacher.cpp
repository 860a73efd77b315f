#include "quant/teacher.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/executor.h"
#include "quant/adam.h"
#include "quant/crops.h"
#include "quant/parameter_average.h"
#include "quant/student.h"
#include "quant/teacher_loss.h"

namespace yoloquant::quant {

namespace {

constexpr double kFinalRate = 0.02;  // of the cosine schedule

Tensor number(double value) { return Tensor::from<double>({1}, std::vector<double>{value}); }

class Tuning {
 public:
  Tuning(graph::Graph& annotated, const MethodContext& context, const TeacherOptions& options)
      : annotated_(annotated),
        context_(context),
        options_(options),
        taps_(find_taps(context.reference)),
        teacher_(context.reference,
                 {.device = options.device, .bfloat16 = options.bfloat16, .trainable = false}),
        student_(annotated, {.device = options.device,
                             .bfloat16 = options.bfloat16,
                             .float_input_bits = kFineInputBits}),
        optimizer_({{student_.latents(), options.latent_rate},
                    {student_.steps(), options.step_rate},
                    {student_.biases(), options.bias_rate}}),
        average_(student_.named(), options.average),
        held_out_(held_out_count(context.images.size(), options.held_out)),
        crops_(context.images, 0, context.images.size() - held_out_),
        random_(splitmix64_mix(context.budget.seed() + 0x74656163)),
        clock_(Effort::kFast, std::min(options.seconds, context.budget.seconds_left())),
        best_graph_(annotated) {}

  void run() {
    if (!restore()) consider();
    context_.progress.start("tuning against the float model", options_.steps);
    try {
      train();
    } catch (const Error&) {
      // Most likely an interruption: what is done is not lost.
      if (std::isfinite(loss_)) save();
      throw;
    }
    check();
    context_.progress.finish();
    annotated_ = best_graph_;
  }

 private:
  // 0 to 1, by steps or time, whichever is further.
  double fraction() const {
    const double elapsed = clock_.elapsed_seconds();
    return std::max(static_cast<double>(step_) / static_cast<double>(options_.steps),
                    elapsed / (elapsed + std::max(clock_.seconds_left(), 0.0)));
  }

  void train() {
    const double interval = 1.0 / static_cast<double>(options_.checks);
    double done = fraction();
    double next_check = (std::floor(done / interval) + 1) * interval;
    Budget since_save;
    while (done < 1) {
      if (done >= next_check) {
        check();
        next_check += interval;
      }
      if (since_save.elapsed_seconds() > MethodState::kInterval) {
        save();
        since_save = Budget();
      }
      step(done);
      context_.progress.update(step_, fmt::format("loss {:.3f}, held out {:.3f}", loss_, best_));
      done = fraction();
    }
  }

  // Both models can be asked about any image: views that nobody has seen keep the student from
  // learning the few there are by heart (Beyer et al. 2022, "Knowledge distillation: A good teacher
  // is patient and consistent"). Whole images keep it from leaving what it will see.
  at::Tensor draw() {
    return random_.uniform() < options_.whole ? crops_.draw_whole(random_)
                                              : crops_.draw_anew(random_);
  }

  void step(double done) {
    const at::Tensor images = draw();
    std::vector<at::Tensor> wanted;
    {
      const at::NoGradGuard guard;
      wanted = teacher_.forward(images, taps_.values());
    }
    const TeacherLoss loss = teacher_loss(taps_, student_.forward(images, taps_.values()), wanted,
                                          images.size(2) * images.size(3));
    loss_ = loss.total.item<double>();
    if (!std::isfinite(loss_)) fail("the tuning loss is not finite");
    loss.total.backward();
    const double cosine =
        0.5 * (1 + std::cos(std::numbers::pi * done)) * (1 - kFinalRate) + kFinalRate;
    ++step_;
    const double warm =
        std::min(1.0, static_cast<double>(step_) / static_cast<double>(options_.warmup));
    optimizer_.step(cosine * warm);
    student_.clamp_latents();
    average_.update();
  }

  // Considers the present weights and their running mean for the result. Where the mean is better,
  // tuning goes on from it (compare Zhang et al. 2019, "Lookahead Optimizer"): weights that flip
  // between two codes, which high rates have many of, have settled there.
  void check() {
    const double present = consider();
    average_.swap();
    const double mean = consider();
    if (mean < present) {
      average_.restart();
    } else {
      average_.swap();
    }
  }

  // Returns the held-out loss.
  double consider() {
    const double loss = held_out_ > 0 ? held_out_loss() : -static_cast<double>(step_);
    if (loss < best_) {
      best_ = loss;
      student_.store(best_graph_);
    }
    return loss;
  }

  double held_out_loss() {
    const at::NoGradGuard guard;
    double total = 0;
    const int64_t end = context_.images.size();
    context_.images.for_each_batch(end - held_out_, end, 1, [&](const Tensor& batch) {
      const at::Tensor images = exec::view_of(batch).contiguous(at::MemoryFormat::ChannelsLast);
      const TeacherLoss loss =
          teacher_loss(taps_, student_.forward(images, taps_.values()),
                       teacher_.forward(images, taps_.values()), images.size(2) * images.size(3));
      total += loss.total.item<double>();
    });
    return total / static_cast<double>(held_out_);
  }

  void save() const {
    if (context_.state == nullptr || !context_.state->enabled()) return;
    TensorMap own{
        {"best", number(best_)},
        {"step", number(static_cast<double>(step_))},
        {"random",
         Tensor::from<int64_t>({1}, std::vector<int64_t>{static_cast<int64_t>(random_.state())})}};
    for (const auto& [name, value] : student_.state()) own["value/" + name] = exec::to_host(value);
    for (const auto& [name, value] : average_.means()) own["mean/" + name] = exec::to_host(value);
    for (const auto& [name, value] : optimizer_.state()) own["adam/" + name] = exec::to_host(value);
    context_.state->save(best_graph_, own);
  }

  // Whether there was something to go on from. `annotated` holds the best weights already.
  bool restore() {
    if (context_.state == nullptr) return false;
    const std::optional<TensorMap> saved = context_.state->take();
    if (!saved) return false;
    const auto get = [&](const std::string& name) -> const Tensor& {
      const auto found = saved->find(name);
      if (found == saved->end()) fail("the saved state has no {}; start without --resume", name);
      return found->second;
    };
    const auto load = [&](const std::string& prefix, const exec::NamedTensors& values) {
      exec::NamedTensors prefixed;
      for (const auto& [name, value] : values) prefixed.emplace(prefix + name, value);
      exec::copy_into(prefixed, *saved, "the saved state");
    };
    load("value/", student_.state());
    load("mean/", average_.means());
    load("adam/", optimizer_.state());
    best_ = get("best").data<double>()[0];
    step_ = static_cast<int64_t>(get("step").data<double>()[0]);
    optimizer_.set_steps(step_);
    average_.set_updates(step_);
    random_ = Random(static_cast<uint64_t>(get("random").data<int64_t>()[0]));
    return true;
  }

  graph::Graph& annotated_;
  const MethodContext& context_;
  const TeacherOptions& options_;
  TeacherTaps taps_;
  Student teacher_;
  Student student_;
  Adam optimizer_;
  ParameterAverage average_;
  int64_t held_out_;
  CropSource crops_;
  Random random_;
  Budget clock_;
  int64_t step_ = 0;
  double loss_ = 0;
  double best_ = std::numeric_limits<double>::infinity();
  graph::Graph best_graph_;
};

}  // namespace

// What gradients without a direction move a latent weight by grows with the root of the steps. The
// rate of a longer schedule is lower by as much: such weights keep the codes that they came with.
TeacherOptions teacher_options(Effort effort) {
  TeacherOptions options;
  if (effort == Effort::kNormal) {
    options.steps = 600;
    options.checks = 6;
  }
  if (effort == Effort::kMax) {
    options.steps = 3600;
    options.latent_rate = 4e-3;
    options.checks = 30;
  }
  return options;
}

void run_teacher(graph::Graph& annotated, const MethodContext& context,
                 const TeacherOptions& options) {
  if (context.images.size() == 0) fail("tuning needs images");
  Tuning(annotated, context, options).run();
}

bool Teacher::depends_on_inputs(int bits) const { return bits < kFineInputBits; }

void Teacher::apply(graph::Graph& annotated, const MethodContext& context) {
  TeacherOptions options = teacher_options(context.budget.effort());
  options.device = exec::resolve_device(context.calibration.device);
  run_teacher(annotated, context, options);
}

}  // namespace yoloquant::quant
