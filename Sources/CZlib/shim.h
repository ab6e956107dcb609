// The one door to zlib (gzip input and output).
#include <zlib.h>
