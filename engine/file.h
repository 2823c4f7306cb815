/*
 * file: a whole file, read with a reason when it cannot be. Control thread only: it waits for the disk.
 */
#ifndef WEIR_FILE_H
#define WEIR_FILE_H

#include "engine/base/slice.h"

struct file {
    char *at;
    size_t length;
};
static inline struct slice file_slice(const struct file *file) { return slice_of(file->at, file->length); }
void file_release(struct file *file); /* wipes it */

/*
 * A regular file that is not empty and has at most `most` bytes. NULL, or why not; then nothing is to be released, and errno is EACCES only for
 * that reason.
 */
const char *must_use file_read_path(const char *path, size_t most, struct file *file);
/* The same by a path of the configuration. False: why, with the noun. */
bool must_use file_read(const char *noun, struct slice path, size_t most, struct file *file, char why[256]);

/* why: "certificate "/etc/weir/site.crt": what is wrong". The noun has at most 13 bytes. */
void file_complain(char why[256], const char *noun, struct slice path, const char *reason);

#endif
