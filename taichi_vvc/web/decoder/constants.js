/** The numbers that the format states: limits, weights, thresholds. */
// Made by docs/make_web.py from the package's constants; do not change it here.

/** the newest format version */
export const FORMAT_VERSION = 8;
/** bytes before the first chunk */
export const PREAMBLE_BYTES = 8;
/** bytes of a chunk besides its payload */
export const FRAMING = 12;
/** format version */
export const FIRST_WITH_SHARED_MLPS = 3;
/** format version */
export const FIRST_WITH_MOVING_CAMERAS = 4;
/** format version, with colour maps too */
export const FIRST_WITH_SHELL = 5;
/** format version */
export const FIRST_WITH_FULL_INDEX = 6;
/** format version, with chunks that are passed over */
export const FIRST_WITH_SOUND = 7;
/** format version, with moved masks too */
export const FIRST_WITH_RIGS = 8;
/** samples per second */
export const SOUND_RATE = 48000;
/** samples of a packet */
export const SOUND_PACKET = 960;
/** samples before what a decoder plays is right */
export const SOUND_PREROLL = 3840;
/** samples of a frame in a packet, by the upper five bits of its first byte */
export const OPUS_FRAMES = [480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960,
  120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960];
/** bytes of the inflated header */
export const MAX_HEADER = 1048576;
/** of all levels together */
export const MAX_CHANNELS = 64;
/** of a frame */
export const MAX_SYMBOLS = 134217728;
/** of a mask */
export const MAX_CELLS = 134217728;
/** magnitude of the integers of poses and lenses */
export const MAX_CAMERA_NUMBER = 4503599627370496;
/** cells that a step of the march is long at most */
export const MOST_CELLS_PER_STEP = 3;
/** levels of lists and objects in the settings */
export const MAX_DEPTH = 16;
/** positionBits less this are digits behind the point */
export const POSITION_BIAS = 64;
/** digits behind the point of fx, fy, cx, cy, k1, k2, p1, p2 */
export const LENS_BITS = [7, 7, 7, 7, 20, 20, 20, 20];
/** bits that state the width of a run */
export const RUN_WIDTH = 5;
/** bits that state the width of a column of the header */
export const RIG_WIDTH = 6;
/** bits of its numbers at most */
export const RIG_MAX_WIDTH = 53;
/** text that the header is compressed with, in parts */
export const DICTIONARY = ["\"bitrate\":,\"target_psnr\":,\"colours\":\"on\",\"off\",\"poses\":\"fram",
  "e_step\":2,\"part_length\":\"picture_memory\":\"pieces\":[[0,1,\"bac",
  "kground\":[0,0,0],false,true,null,\"coefficients\":48,\"inter_it",
  "erations\":5000,\"key_iterations\":12000,\"level_nodes\":[32,64,1",
  "28],\"occupancy_cells\":128,\"preset\":\"placebo\",\"rays\":3072,\"st",
  "eps_per_side\":512,\"coefficients\":40,\"inter_iterations\":2500,",
  "\"key_iterations\":5000,\"level_nodes\":[32,56,96],\"occupancy_ce",
  "lls\":96,\"preset\":\"slow\",\"rays\":2048,\"steps_per_side\":384,\"co",
  "efficients\":20,\"inter_iterations\":200,\"key_iterations\":400,\"",
  "level_nodes\":[16,24,40],\"occupancy_cells\":48,\"preset\":\"ultra",
  "fast\",\"rays\":768,\"steps_per_side\":96,\"inter_iterations\":600,",
  "\"key_iterations\":1200,\"level_nodes\":[24,40,64],\"preset\":\"fas",
  "t\",\"rays\":1024,\"steps_per_side\":192,{\"appearance\":7,\"backgro",
  "und\":[255,255,255],\"basis_step\":0.4,\"coefficient_step\":0.4,\"",
  "coefficients\":32,\"colour_hidden\":64,\"final_rate\":0.1,\"grid_r",
  "ate\":0.2,\"inter_iterations\":1200,\"inter_rate\":1.0,\"joint\":tr",
  "ue,\"key_iterations\":2500,\"key_lambda\":0.7,\"keyint\":0,\"lambda",
  "_rate\":0.0005,\"lambda_residual\":0.0,\"level_channels\":[4,4,4]",
  ",\"level_frequencies\":[1.0,1.0,1.0],\"level_nodes\":[24,48,80],",
  "\"mlp_rate\":0.02,\"mlp_step\":0.03125,\"motion_blocks\":8,\"nodes_",
  "per_pixel\":0.5,\"occupancy_cells\":64,\"preset\":\"medium\",\"proje",
  "ction_hidden\":64,\"random_background\":true,\"rate_model\":\"cont",
  "ext\",\"rays\":1536,\"rising\":0.075,\"rounding_from\":0.6,\"scenecu",
  "t\":true,\"seed\":0,\"steps_per_side\":256,\"view_frequencies\":3,\"",
  "whole_coefficients\":false}taichi_vvc 0.1.0"];
/** gains less one and offsets are in this part of one */
export const COLOUR_UNITS = 256;
/** least and largest gain less one, in units */
export const GAINS = [-192, 768];
/** least and largest offset, in units */
export const OFFSETS = [-256, 256];
/** frequencies are in this part of one */
export const FREQUENCY_UNITS = 256;
/** bits of a frequency */
export const PRECISION = 24;
/** magnitudes up to this have a symbol of their own */
export const LARGEST = 15;
/** no symbol is larger */
export const LARGEST_MAGNITUDE = 1048576;
/** per probability index, out of 2^24 */
export const PROBABILITIES = [65280, 77575, 92172, 109498, 130055, 154437, 183338, 217577, 258111, 306057, 362713,
  429583, 508400, 601147, 710074, 837716, 986895, 1160705, 1362484, 1595754, 1864135, 2171200, 2520294, 2914316,
  3355443, 3844827, 4382277, 4966004, 5592405, 6255976, 6949354, 7663604, 8388608, 9113618, 9827869, 10521246,
  11184810, 11811218, 12394945, 12932393, 13421772, 13862904, 14256926, 14606018, 14913080, 15181463, 15414734,
  15616512, 15790320, 15939500, 16067142, 16176069, 16268815, 16347633, 16414503, 16471159, 16519104, 16559639,
  16593878, 16622779, 16647160, 16667717, 16685043, 16699640, 16711935, 16722287, 16731002, 16738338, 16744511,
  16749706, 16754077, 16757754, 16760847, 16763450, 16765638, 16767479, 16769027, 16770330, 16771425, 16772346,
  16773120, 16773772, 16774320, 16774780, 16775168, 16775494, 16775767, 16775998, 16776192, 16776354, 16776491,
  16776607, 16776704, 16776785, 16776853, 16776911];
/** the probability index of one half */
export const EVEN = 32;
/** frequencies of the magnitudes of side integers */
export const SIDE_TABLE = [8388600, 4556805, 1587183, 929751, 544635, 319040, 186890, 109478, 64131, 37568, 22007,
  12892, 7552, 4424, 2592, 1519, 2149];
/** the same of those that are mostly zero */
export const SPARSE_TABLE = [14913065, 372827, 389536, 287788, 212617, 157081, 116051, 85738, 63344, 46798, 34575,
  25544, 18872, 13943, 10301, 7610, 21526];
/** parity classes in coding order */
export const ORDER = [0, 7, 3, 5, 6, 1, 2, 4];
/** kind of each pass of a grid */
export const KINDS = [0, 1, 2, 2, 2, 3, 3, 3];
/** magnitudes count up to this in a context */
export const CAP = 15;
/** sums over a node's channels count up to this */
export const TOTAL_CAP = 255;
/** of activities, between tables */
export const THRESHOLDS = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584];
/** of predictions, between sign classes */
export const SIGN_THRESHOLDS = [1, 32, 64, 128, 256, 512, 1024];
/** per kind of pass, of a face, an edge and a corner */
export const SIGN_WEIGHTS = [[0, 0, 0], [0, 0, 16], [32, 8, 0], [20, 4, 0]];
/** what the first channel's statistic is relative to */
export const FIRST_MEAN = 24;
/** the means that a stream can state, in 1/2048 */
export const MEANS = [1, 1, 1, 1, 2, 2, 2, 3, 4, 4, 5, 6, 8, 9, 11, 13, 16, 19, 22, 26, 32, 38, 45, 53, 64, 76, 90,
  107, 128, 152, 181, 215, 256, 304, 362, 430, 512, 608, 724, 861, 1024, 1217, 1448, 1722, 2048, 2435, 2896, 3444,
  4096, 4871, 5792, 6888, 8192, 9742, 11585, 13777, 16384, 19484, 23170, 27554, 32768];
/** entropy models by their number in the stream */
export const MODELS = {context: 0, laplace: 1};
/** the payload of a grid of zeros */
export const NOTHING_CODED = 2;
/** of magnitudes in integer arrays */
export const BUCKETS = 41;
/** what the first index of a bucket table is relative to */
export const FIRST_INDEX = 24;
/** spacing of the first cells of a mask */
export const FIRST_STRIDE = 8;
/** kind of each pass of a mask, by its position */
export const MASK_KINDS = [3, 0, 1, 1, 1, 2, 2, 2];
/** of a mask's scores */
export const BINS = 48;
/** initial counts of empty and of occupied cells, per bin */
export const MASK_COUNTS = [[16380, 16378, 16376, 16372, 16368, 16361, 16352, 16338, 16320, 16293, 16256, 16204,
  16131, 16029, 15887, 15690, 15420, 15053, 14563, 13922, 13107, 12104, 10922, 9597, 8192, 6787, 5462, 4280, 3277,
  2462, 1821, 1331, 964, 694, 497, 355, 253, 180, 128, 91, 64, 46, 32, 23, 16, 12, 8, 6], [4, 6, 8, 12, 16, 23, 32,
  46, 64, 91, 128, 180, 253, 355, 497, 694, 964, 1331, 1821, 2462, 3277, 4280, 5462, 6787, 8192, 9597, 10922, 12104,
  13107, 13922, 14563, 15053, 15420, 15690, 15887, 16029, 16131, 16204, 16256, 16293, 16320, 16338, 16352, 16361,
  16368, 16372, 16376, 16378]];
/** what a cell adds to a count */
export const MASK_UNIT = 64;
/** [kind][min(spacing, 2)]: bias, face, edge, ... */
export const MASK_WEIGHTS_KEY = [[null, [-170, 0, 0, 44], [-122, 0, 0, 34]], [null, [-185, 134, 14, 0], [-141, 95,
  14, 0]], [null, [-251, 84, 1, 1], [-173, 68, 0, -5]], [null, null, [-49, 0, 0, 0]]];
/** the same with a mask before */
export const MASK_WEIGHTS_INTER = [[null, [-171, 0, 0, 43, 46, 10, 0, -6, 0, 0, -6], [-144, 0, 0, 40, 39, 9, 9, 0, 0,
  0, -28]], [null, [-198, 102, 24, 0, 41, 12, 12, -6, -26, -19, 0], [-157, 73, 26, 0, 43, 11, 8, 0, -28, -22, 0]],
  [null, [-250, 82, 4, 3, 53, -1, 0, -2, -1, -3, -2], [-181, 64, 7, 4, 49, 10, 5, 3, -22, -8, -12]], [null, null,
  [-124, 0, 0, 0, 13, 16, 14, -2, 0, 0, 0]]];
/** with a moved mask, per weight set */
export const MASK_WEIGHTS_MOVED = [[[null, [-164, 0, 0, 26, 48, 31, 5, -11, 0, 0, -11], [-154, 0, 0, 11, 27, 41, 3,
  0, 0, 0, -11]], [null, [-195, 102, 24, 0, 76, 31, 7, -6, -56, -21, 0], [-159, 47, 18, 0, 65, 21, 17, -10, -41, -18,
  0]], [null, [-217, 83, 0, 1, 92, -4, -8, -1, -4, 1, -1], [-164, 44, 7, -2, 63, 34, 1, 2, -30, -7, -3]], [null,
  null, [-146, 0, 0, 0, 42, 25, 16, -8, 0, 0, 0]]], [[null, [-176, 0, 0, 42, 170, 12, 8, -20, 0, 0, -20], [-153, 0,
  0, 16, 125, 20, 10, -9, 0, 0, -13]], [null, [-200, 116, 24, 0, 207, 10, 7, -2, -92, -23, 0], [-173, 61, -19, 0,
  149, 22, 6, -4, -51, 19, 0]], [null, [-212, 106, -4, -7, 222, -31, -7, 4, -31, 5, 4], [-174, 73, 20, -3, 187, 13,
  3, 1, -59, -22, -1]], [null, null, [-124, 0, 0, 0, 38, 53, 3, -12, 0, 0, 0]]]];
/** the value of an occupied cell in a moved mask */
export const SHARES = 16;
/** parts of a cell that origins of moved masks are rounded to */
export const CELL_PART = 8;
/** parts of a cell's edge that live sets are found in */
export const LIVE_UNITS = 64;
/** displacements are in this part of a cell */
export const MOTION_UNITS = 4;
/** magnitude of a displacement */
export const LARGEST_MOTION = 4096;
/** places in a block of the motion lattice are in this part of it */
export const PLACE = 64;
/** parts of the distance between grid nodes that origins are rounded to */
export const PART = 32;
/** first byte of displacements predicted from their neighbours */
export const SPATIAL = 3;
/** the same of their differences to the frame before */
export const TEMPORAL = 4;
/** the first byte of displacements in contexts */
export const SPATIAL_CONTEXTS = 5;
/** the same of their differences to the frame before */
export const TEMPORAL_CONTEXTS = 6;
/** of what neighbours differ, between bins */
export const MOTION_THRESHOLDS = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];
/** added to the bin, by spacing */
export const MOTION_OFFSETS = [0, 0, 0, 0, 1];
/** of displacements; the last is for nodes without known neighbours */
export const MOTION_BINS = 15;
/** what a displacement adds to a count */
export const MOTION_UNIT = 64;
/** initial counts of others and of zeros, per bin */
export const MOTION_COUNTS = [[114, 154, 178, 268, 382, 512, 683, 820, 911, 927, 941, 941, 941, 941, 342], [910, 870,
  846, 756, 642, 512, 341, 204, 113, 97, 83, 83, 83, 83, 682]];
/** frequency of magnitude 1 unless 0, per bin */
export const MOTION_FIRST = [13421772, 13421772, 14256926, 13862904, 14256926, 13862904, 12394945, 9827869, 6255976,
  3355443, 2520294, 2520294, 2520294, 2520294, 8388608];
/** frequency of a later magnitude unless smaller, per bin */
export const MOTION_LATER = [10521246, 9827869, 9113618, 9113618, 9827869, 10521246, 10521246, 9827869, 8388608,
  5592405, 4382277, 4382277, 4382277, 4382277, 9827869];
/** probability index of the sign that rounding says */
export const MOTION_SIGN = 37;
/** Exp-Golomb order of the escapes of displacements */
export const MOTION_ESCAPES = 3;
/** of the passes over displacements */
export const MOTION_SPACINGS = [4, 2, 1];
/** of a face, an edge and a corner in their prediction */
export const MOTION_WEIGHTS = [16, 4, 1];
