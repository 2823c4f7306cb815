#include "engine/base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "engine/base/check.h"

int random_block(unsigned char *out, unsigned length)
{
    if (FAULT("random"))
        return -1;
    while (length) {
        ssize_t got = getrandom(out, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        out += got;
        length -= (unsigned)got;
    }
    return 0;
}
