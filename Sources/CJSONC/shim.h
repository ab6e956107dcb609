// The one door to json-c; only the target JSON imports it.
#include <json-c/json.h>
#include <json-c/linkhash.h>

#include <locale.h>
// glibc shows strtod_l only where _GNU_SOURCE is defined before its first header, which a module cannot do.
extern double strtod_l(const char *text, char **end, locale_t locale);
