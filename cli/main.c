/* The program. Everything else of the command is in files that tests can link too. */
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/server.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "0.0.0"
#endif

/* Whoever closed these: no socket of ours may get their numbers, or a message to standard error would go to a client. */
static void hold_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    weir_version = WEIR_VERSION;
    server_set_version(weir_version);
    return cli_run(argc, argv);
}
