"""Models as files for other programs (MindIR, ONNX), and the data of the C++ program that runs them.

  export.py     export_run: writes the files of a run
  cells.py      what is exported: the decoder, and Langevin inference
  files.py      writes a Cell, loads the file again and compares
  edge.py       prepare and check: before and after the C++ program of ascend310_infer
  infer310.py   the files that this program reads and writes
  lite2/        for MindSpore Lite 2.0 only
"""
