#include "engine/base/base.h"

#define ERR_AS_TEXT(name, text) [name] = text,
static const char *const texts[ERR_COUNT] = { ERR_ROWS(ERR_AS_TEXT) };

const char *err_text(enum err e)
{
    return (unsigned)e < ERR_COUNT ? texts[e] : "unknown error";
}
