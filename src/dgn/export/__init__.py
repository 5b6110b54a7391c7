"""Models as files for other programs (MindIR, ONNX), and the data of the C++ program that runs them.

  export.py       export_run: writes the files of a run
  cells.py        the exported Cells: decoder, encoder and Langevin inference
  files.py        writes a Cell, loads the file again and compares
  cpp_program.py  writes inputs of the C++ program of ascend310_infer, and checks its results
  cpp_files.py    the files that this program reads and writes
  lite2/          only for MindSpore Lite 2.0
"""
