// The five jobs of the program, each of which writes files into --output_path.
#ifndef DGN_JOBS_H_
#define DGN_JOBS_H_

#include "arguments.h"
#include "runner.h"

namespace dgn {

// Latents -> image, appearance, displacement (Fig. 2).
void Reconstruct(const Arguments &arguments, Runner *runner);

// Traverses latent dimensions of one group from -gamma to gamma (Fig. 3, 4).
void Traverse(const Arguments &arguments, Runner *runner);

// Decodes appearance latents of one set with geometry latents of another (Fig. 11).
void Recombine(const Arguments &arguments, Runner *runner);

// Infers latents of images by Langevin dynamics (Eq. 7, 16).
void Infer(const Arguments &arguments, Runner *runner);

// Latents of images in one pass of the encoder.
void Encode(const Arguments &arguments, Runner *runner);

// Runs the job named by the arguments, prints the timing report and writes it to OUTPUT/time.txt.
void RunJob(const Arguments &arguments, Network *network);

}  // namespace dgn

#endif  // DGN_JOBS_H_
