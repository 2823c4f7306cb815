#include "engine/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/check.h"

void file_complain(char why[256], const char *noun, struct slice path, const char *reason)
{
    size_t length = size_min(path.length, 110); /* of a long one the end tells more */
    snprintf(why, 256, "%.13s \"%.*s\": %.125s", noun, (int)length, path.at + (path.length - length), reason);
}

void file_release(struct file *file)
{
    if (file->at)
        explicit_bzero(file->at, file->length);
    free(file->at);
    *file = (struct file){ 0 };
}

static const char *fill(int fd, struct file *file)
{
    size_t got = 0;
    while (got < file->length) {
        ssize_t n = read(fd, file->at + got, file->length - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? strerror(errno) : "it was changed while it was read";
        got += (size_t)n;
    }
    return NULL;
}

static const char *read_open(int fd, size_t most, struct file *file)
{
    struct stat facts;
    if (fstat(fd, &facts) < 0)
        return strerror(errno);
    if (!S_ISREG(facts.st_mode))
        return S_ISDIR(facts.st_mode) ? strerror(EISDIR) : "it is no regular file";
    if (facts.st_size == 0)
        return "it is empty";
    if ((uint64_t)facts.st_size > most)
        return "it is too large";
    file->length = (size_t)facts.st_size;
    file->at = FAULT("file") ? NULL : malloc(file->length);
    return file->at ? fill(fd, file) : err_text(ERR_MEMORY);
}

const char *file_read_path(const char *path, size_t most, struct file *file)
{
    *file = (struct file){ 0 };
    int fd = FAULT("file") ? (errno = EMFILE, -1) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return strerror(errno);
    const char *complaint = read_open(fd, most, file);
    close(fd);
    errno = 0;
    if (complaint)
        file_release(file);
    return complaint;
}

bool file_read(const char *noun, struct slice path, size_t most, struct file *file, char why[256])
{
    char name[1100]; /* config_value.c allows 1024 */
    snprintf(name, sizeof name, "%.*s", (int)path.length, path.at);
    const char *complaint = file_read_path(name, most, file);
    if (complaint) {
        int error = errno;
        file_complain(why, noun, path, complaint);
        errno = error;
    }
    return !complaint;
}
