#include "report/picture_svg.h"

#include <fmt/format.h>

#include "report/svg.h"

namespace yoloquant::report {
namespace {

struct ToSvg {
  std::string operator()(const data::Polyline& line) const {
    std::string path;
    for (const data::PicturePoint& point : line.points) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", point.x, point.y);
    }
    return fmt::format(
        "<path d=\"{}\" stroke=\"#{:06x}\" stroke-width=\"{:g}\" stroke-linejoin=\"round\" "
        "fill=\"none\"/>\n",
        path, line.color, line.width);
  }

  std::string operator()(const data::Disc& disc) const {
    return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:g}\" fill=\"#{:06x}\"/>\n",
                       disc.center.x, disc.center.y, disc.radius, disc.color);
  }

  std::string operator()(const data::Caption& caption) const {
    using Anchor = data::Caption::Anchor;
    const char* anchor = caption.anchor == Anchor::kStart    ? "start"
                         : caption.anchor == Anchor::kMiddle ? "middle"
                                                             : "end";
    return svg_text(caption.at.x, caption.at.y, anchor, caption.text,
                    fmt::format("font-size=\"{:g}\" fill=\"#{:06x}\"{}", caption.size,
                                caption.color, caption.bold ? " font-weight=\"bold\"" : ""));
  }
};

}  // namespace

std::string picture_svg(const data::Picture& picture) {
  std::string svg = svg_open(picture.width, picture.height);
  for (const data::PictureShape& shape : picture.shapes) svg += std::visit(ToSvg{}, shape);
  return svg + "</svg>\n";
}

}  // namespace yoloquant::report
