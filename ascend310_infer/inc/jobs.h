// What the program can be asked to do with a network.
#ifndef DGN_JOBS_H_
#define DGN_JOBS_H_

#include "arguments.h"
#include "runner.h"

namespace dgn {

// Latents -> images, appearances, displacements (Fig. 2).
void Reconstruct(const Arguments &arguments, Runner *runner);

// Typical bases: one dimension of a group's latents from -gamma to gamma (Fig. 3, 4).
void Traverse(const Arguments &arguments, Runner *runner);

// Appearance latents of one set with geometry latents of another (Fig. 11).
void Recombine(const Arguments &arguments, Runner *runner);

// Images -> latents, by Langevin dynamics (Eq. 7, 16).
void Infer(const Arguments &arguments, Runner *runner);

// The job that the arguments name; then the time it took, on standard output and in OUTPUT/time.txt.
void RunJob(const Arguments &arguments, Network *network);

}  // namespace dgn

#endif  // DGN_JOBS_H_
