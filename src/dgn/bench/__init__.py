"""Timings on the machine at hand.

  parts.py        an iteration and its parts; calls.py: each part as a function; flops.py: its arithmetic
  graphs.py       operators and compile time of the graphs of a training; profile.py: a trace of them
  processes.py    one training in one process and in several; msrun.py: starts processes
  storage.py      the chains of many samples
  program.py      the C++ program of ascend310_infer and Python
  against_torch.py  the sampler as a PyTorch program
  measures.py     time and memory
"""
