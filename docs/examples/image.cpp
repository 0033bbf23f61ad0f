// Colors a picture with an artefact of graph "image", in C++17 with onnxruntime's package for C and C++:
//
//     c++ -std=c++17 -O2 image.cpp -I ORT/include -L ORT/lib -lonnxruntime -Wl,-rpath,ORT/lib -o image
//     ./image FILE.onnx gray.ppm colored.ppm
//
// Pictures are binary PPM (P6, 8 bits), so that nothing but the runtime is needed; `magick old.jpg gray.ppm` makes one.

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // height x width x 3
};

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t most = 0;
  Picture picture;
  file >> magic >> picture.width >> picture.height >> most;
  const int64_t side = 65536;
  if (!file || magic != "P6" || most != 255 || picture.width < 1 || picture.height < 1 || picture.width > side ||
      picture.height > side)
    throw std::runtime_error(path + ": expected a binary PPM of 8 bits (P6)");
  file.get();  // the one white space before the pixels
  picture.rgb.resize(static_cast<size_t>(picture.width * picture.height * 3));
  file.read(reinterpret_cast<char*>(picture.rgb.data()), static_cast<std::streamsize>(picture.rgb.size()));
  if (!file) throw std::runtime_error(path + ": it ends before its last pixel");
  return picture;
}

int main(int count, char** words) try {
  if (count != 4) {
    std::cerr << "usage: image FILE.onnx gray.ppm colored.ppm\n";
    return 2;
  }
  Picture picture = read_ppm(words[2]);
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "image");
  Ort::Session session(environment, words[1], Ort::SessionOptions{});
  const std::array<int64_t, 4> shape{1, picture.height, picture.width, 3};
  Ort::Value input = Ort::Value::CreateTensor<uint8_t>(
      Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault), picture.rgb.data(), picture.rgb.size(),
      shape.data(), shape.size());
  const char* inputs[] = {"rgb"};
  const char* outputs[] = {"colored"};
  std::vector<Ort::Value> colored = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);
  std::ofstream file(words[3], std::ios::binary);
  file << "P6\n" << picture.width << ' ' << picture.height << "\n255\n";
  file.write(reinterpret_cast<const char*>(colored[0].GetTensorData<uint8_t>()),
             static_cast<std::streamsize>(picture.rgb.size()));
  if (!file.flush()) throw std::runtime_error(std::string(words[3]) + ": it cannot be written");
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
