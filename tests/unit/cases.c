#include "tests/unit/cases.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/check.h"

#define LINE_MAX_BYTES 70000
#define BYTES_MAX 200000

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* "\x41*300": the byte 300 times. */
static size_t repeat(const char **at)
{
    if (**at != '*' || (*at)[1] < '0' || (*at)[1] > '9')
        return 1;
    char *end;
    size_t times = strtoul(*at + 1, &end, 10);
    *at = end;
    return times;
}

static size_t unescape(const char *line, char *out)
{
    size_t length = 0;
    for (const char *p = line; *p && *p != '\n';) {
        char c = *p++;
        size_t times = 1;
        if (c == '\\') {
            char e = *p++;
            c = e == 'r' ? '\r' : e == 'n' ? '\n' : e == 't' ? '\t' : e == '0' ? 0 : e;
            if (e == 'x') {
                c = (char)(hex(p[0]) * 16 + hex(p[1]));
                p += 2;
                times = repeat(&p);
            }
        }
        while (times-- > 0)
            out[length++] = c;
        MUST(length < BYTES_MAX / 2);
    }
    return length;
}

static void trim(char *text)
{
    size_t length = strlen(text);
    while (length && (text[length - 1] == '\n' || text[length - 1] == ' '))
        text[--length] = 0;
}

unsigned cases_run(const char *page, const char *kind, void (*run)(const struct test_case *one))
{
    static char line[LINE_MAX_BYTES], bytes[BYTES_MAX];
    char name[200] = "", fence[40] = "";
    size_t length = 0;
    bool inside = false;
    unsigned count = 0;
    FILE *file = fopen(page, "r");
    MUST(file != NULL);
    while (fgets(line, sizeof line, file)) {
        if (inside && strncmp(line, "```", 3) != 0) {
            length += unescape(line, bytes + length);
            continue;
        }
        if (strncmp(line, "### ", 4) == 0) {
            snprintf(name, sizeof name, "%.199s", line + 4);
            trim(name);
        } else if (strncmp(line, "```", 3) == 0) {
            inside = !inside;
            if (inside) {
                snprintf(fence, sizeof fence, "%.39s", line + 3);
                trim(fence);
                length = 0;
            }
        } else if (strncmp(line, "=> ", 3) == 0 && strcmp(fence, kind) == 0) {
            char *copy = malloc(length + 1); /* exactly as long as it is, so that the sanitizer sees a byte too far */
            MUST(copy != NULL);
            memcpy(copy, bytes, length);
            trim(line);
            struct test_case one = { name, fence, slice_of(copy, length), line + 3 };
            run(&one);
            free(copy);
            count++;
        }
    }
    fclose(file);
    return count;
}
