// The one door to json-c; only the target JSON imports it.
#include <json-c/json.h>
#include <json-c/linkhash.h>
