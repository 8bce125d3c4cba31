"""The texts of README.md in generated folders."""

ORIGIN = """
Nobody in these pictures exists. They come from a generative network, MobileStyleGAN (Belousov
2021, arXiv:2104.04767), whose weights the Python package random-face 2021.7.21.1 publishes under
the Apache License 2.0.

**What the network learned from.** MobileStyleGAN was distilled from StyleGAN2, which was trained
on FFHQ: 70,000 photographs of real people from Flickr. FFHQ's photographs are under Creative
Commons licences by their photographers, some of them non-commercial, and the data set itself is
under CC BY-NC-SA 4.0. The weights' licence says nothing of those. Whether pictures of such a
network may serve a purpose is for you to judge; a product should not rest on this data set without
advice. Faces may resemble people in FFHQ, and FFHQ's biases (age, origin, smiles, glasses) are in
these pictures.

**Labels** are what MediaPipe's face landmarker (`face_landmarker.task`, Apache-2.0) reads in the
picture at 256 pixels, not truth: 52 blendshapes of ARKit's names, Action Units as means of
these (both 0 to 1, not calibrated to the Facial Action Coding System: subtract the values of the
same person's neutral picture), 68 landmarks in pixels of the picture, and the head's pose in
degrees.

Every picture says in its metadata (IPTC digital source type `trainedAlgorithmicMedia`) that it is
generated, and by which numbers it can be made again.
"""

PEOPLE = f"""# Photoreal faces: people who look real and do not exist
{ORIGIN}
| | |
| --- | --- |
| pictures | one a person; the folders 64, 128, 256 hold the same at these sizes, lossless WebP |
| labels | `labels.jsonl` in each of them, one JSON object a line |
| splits | by person: numbers 0, 20, 40, ... test; 1, 21, 41, ... validation; the others train |
| truncation | .7 to 1, drawn for each person |
| rejected.jsonl | people in whose picture no face was found |
"""

PAIRS = f"""# Photoreal faces, pairs: one person without and with an expression
{ORIGIN}
- Pictures: a person's neutral picture, and up to six others that differ from it by an edit of the
  network's modulations. The folders 64, 128, 256 hold the same at these sizes, lossless WebP.
- Labels: `labels.jsonl` in each of them. `neutral` is the file of the same person's neutral
  picture, `expression` what was asked for, `aus` and `blendshapes` what is read.
- Kept where the blendshapes asked for rose by a least amount, dlib's embedding is at most 0.45
  from the neutral picture's, and the head turned by 5 degrees at most. `rejected.jsonl` has what
  was tried and not kept, with the reason.
- Splits are by person, the same as those of the single pictures: numbers 0, 20, 40, ... test;
  1, 21, 41, ... validation; the others train.

The limit on the embedding's distance favours small expressions, and an edit changes more than what
was asked for (to take a smile off may add a little beard). Train on what is read, not on what was
asked for.
"""
