#pragma once

#include <span>

#include "data/box.h"
#include "data/image.h"

namespace yoloquant::data {

// How an image of `image_width` x `image_height` lies inside the network's input.
struct Letterbox {
  int image_width = 0;
  int image_height = 0;
  int input_width = 0;
  int input_height = 0;
  double scale = 1;  // input pixels per image pixel
  int resized_width = 0;
  int resized_height = 0;
  int pad_left = 0;
  int pad_top = 0;

  // scale = min(input_height / image_height, input_width / image_width), sizes rounded to even on
  // ties, padding halved and rounded down at the left and top: Ultralytics' LetterBox with
  // auto=False, scaleFill=False, scaleup=True, center=True. Throws Error for sizes that are not
  // positive.
  static Letterbox fit(int image_width, int image_height, int input_width, int input_height);

  // From input pixels to image pixels, clipped to the image.
  Box to_image(const Box& box) const;
  // From image pixels to input pixels.
  Box to_input(const Box& box) const;
};

// Writes `image` as the network's input to `output`, [3, input_height, input_width] float32:
// bilinear resize, padding of 114, RGB, divided by 255. REQUIRES: output.size() is 3 * input_height
// * input_width; throws Error otherwise.
Letterbox letterbox(const Image& image, int input_width, int input_height, std::span<float> output);

}  // namespace yoloquant::data
