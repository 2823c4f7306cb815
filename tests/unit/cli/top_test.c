#include "tests/unit/cli/fixture.h"

#include "cli/top.h"

/* What weir top reads from an engine, whatever it sends, and what it shows on a terminal, whatever its size. */

static struct sample now, before;

static struct sample *read_lines(struct sample *sample, double at, const char *lines)
{
    char line[1024];
    *sample = (struct sample){ .at = at };
    for (const char *end; *lines; lines = end + (*end != 0)) {
        end = lines + strcspn(lines, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(end - lines), lines);
        top_read_line(sample, line);
    }
    return sample;
}

/* What top_show puts on a screen. */
static char *shown(bool live, int rows, int columns)
{
    FILE *file = tmpfile();
    top_show(&now, &before, (struct screen){ file, live, rows, columns, 0 });
    return whole_of(file);
}

#define NONE "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
#define SOME "0,8,0,4,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"

Test(top, reads_what_the_engine_writes)
{
    read_lines(&now, 1, "engine 65000 3 2 1\nworker 0 10 2 1 500 4096 1\nworker 1 20 3 0 600 8192 0\nserver up 30 4 0 0 " SOME " app unix:/run/my app.sock\n");
    cr_expect_eq(now.uptime_ms, 65000);
    cr_expect_eq(now.generation, 3);
    cr_assert_eq(now.worker_count, 2);
    cr_expect_eq(now.workers[1].requests, 20);
    cr_expect_eq(now.workers[0].errors, 1);
    cr_assert_eq(now.server_count, 1);
    cr_expect_str_eq(now.servers[0].pool, "app");
    cr_expect_str_eq(now.servers[0].address, "unix:/run/my app.sock");
    cr_expect_str_eq(now.servers[0].state, "up");
    cr_expect_eq(now.servers[0].busy, 4);
    cr_expect_eq(now.servers[0].buckets[3], 4);
}

Test(top, shows_the_cache_where_there_is_one)
{
    read_lines(&before, 1, "engine 1000 3 1 0\nworker 0 10 2 1 500 4096 1\ncache 100 20 4 1 7 1048576 67108864 0\n");
    read_lines(&now, 3, "engine 3000 3 1 0\nworker 0 10 2 1 500 4096 1\ncache 180 30 14 1 9 3145728 67108864 2\n");
    cr_assert_eq(now.cache.objects, 9);
    expect_says(shown(false, 24, 80), "        40       80.0          5          5          0          9        3.0 of 64, 1 evicted/s\n");
    read_lines(&now, 3, "engine 3000 3 1 0\nworker 0 10 2 1 500 4096 1\ncache 180 30\n");
    expect_says_not(shown(false, 24, 80), "cache");
}

/* As long as a configuration may make them. */
Test(top, reads_the_longest_names)
{
    char pool[65], address[260], line[600];
    memset(pool, 'p', sizeof pool);
    memset(address, 'a', sizeof address);
    pool[64] = address[259] = 0;
    snprintf(line, sizeof line, "server up 1 1 0 0 " NONE " %s %s", pool, address);
    read_lines(&now, 1, line);
    cr_assert_eq(now.server_count, 1);
    cr_expect_str_eq(now.servers[0].pool, pool);
    cr_expect_str_eq(now.servers[0].address, address);
}

Test(top, what_is_not_understood_or_has_no_room_is_left_out)
{
    static const char *const lines[] = { "", "worker", "worker 0 1 2 3", "worker x 1 2 3 4 5 6", "server", "server up", "server up 1 1",
                                         "server up 1 1 0 0 1,2,3 app 127.0.0.1:1", "server up 1 1 0 0 " NONE ",0 app 127.0.0.1:1", "server up 1 1 0 0 " NONE " app",
                                         "server up 1 1 0 0 " NONE, "server up 1 1 0 0 " NONE " ", "nonsense 1 2 3" };
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        read_lines(&now, 1, lines[i]);
        cr_expect_eq(now.worker_count + now.server_count, 0, "%s", lines[i]);
    }
    now = (struct sample){ 0 };
    for (int i = 0; i < 2 * TOP_SERVERS; i++) {
        top_read_line(&now, "worker 0 1 1 1 1 1 1");
        top_read_line(&now, "server up 1 1 0 0 " NONE " app 127.0.0.1:1");
    }
    cr_expect_eq(now.worker_count, TOP_WORKERS);
    cr_expect_eq(now.server_count, TOP_SERVERS);
}

Test(top, quantiles_are_of_what_came_between_two_samples)
{
    struct server_sample first = { .buckets = { 1000, 8 } }, second = { .buckets = { 1000, 8, 0, 4 } };
    /* four between 256 and 512 us, as if spread evenly */
    cr_expect_float_eq(top_quantile(&second, &first, 0.5), 0.384, 1e-9);
    cr_expect_float_eq(top_quantile(&second, &first, 0), 0.256, 1e-9);
    cr_expect_lt(top_quantile(&second, &second, 0.5), 0);
    cr_expect_float_eq(top_quantile(&first, NULL, 0.5), 0.0322560, 1e-6);
}

Test(top, an_engine_or_a_server_that_began_anew_gives_no_wrong_rates)
{
    read_lines(&before, 1, "engine 9000 3 1 1\nworker 0 1000 2 1 900000 4096 7\nserver up 3000 4 0 0 " SOME " app 127.0.0.1:1\n");
    read_lines(&now, 2, "engine 1 1 1 1\nworker 0 10 2 1 5 6 0\nserver up 3 4 0 0 " NONE " app 127.0.0.1:1\n");
    char *text = shown(false, 100, 100);
    expect_says(text, "0                 0          2          1      0.0       0.00      0.0\n");
    expect_says(text, "         0      4        -        -        0     0\n");
    read_lines(&before, 1, "engine 1 1 0 0\n"); /* a server that is new has no rate yet */
    read_lines(&now, 2, "engine 1 2 0 1\nserver up 5000 0 0 0 " NONE " app 127.0.0.1:1\n");
    expect_says(shown(false, 100, 100), "up               0      0");
}

Test(top, shows_rates_per_core_and_server)
{
    read_lines(&before, 1, "engine 64000 3 2 1\nworker 0 10 2 1 0 0 0\nworker 1 20 3 0 0 0 0\nserver up 30 4 0 0 " NONE " app 127.0.0.1:9001\n");
    read_lines(&now, 3, "engine 66000 3 2 1\nworker 0 210 2 1 1000000 4000000 4\nworker 1 20 3 0 0 0 0\nserver marked 230 4 20 3 " SOME " app 127.0.0.1:9001\n");
    char *text = shown(false, 100, 100);
    expect_says(text, "weir: up 66 s, configuration 3\n");
    expect_says(text, "core          req/s    clients  in flight   busy %   MB/s out    5xx/s\n");
    expect_says(text, "0               100          2          1     50.0       2.00      2.0\n");
    expect_says(text, "all 2           100          5          1     50.0       2.00      2.0\n");
    expect_says(text, "app        127.0.0.1:9001         marked         100      4     0.11     0.50       10     3\n");
    expect_says_not(text, "\033");
}

/* Many cores, many servers, long names and the largest numbers. */
static void fill(struct sample *sample, double at, const char *count)
{
    char line[1024];
    *sample = (struct sample){ .at = at };
    for (int i = 0; i < 40; i++) {
        snprintf(line, sizeof line, "worker %d %s %s %s %s %s %s", i, count, count, count, count, count, count);
        top_read_line(sample, line);
        snprintf(line, sizeof line, "server drained %s %s 0 0 " SOME " a-pool-of-some-length-%d a-server-with-a-long-name.%d.example.com:8080", count, count, i, i);
        top_read_line(sample, line);
    }
}

/* Plays a terminal that wraps and scrolls: what rows * columns characters cannot hold is a failure. */
static void fits(const char *text, int rows, int columns)
{
    int row = 0, column = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '\033') {
            cr_assert_eq(c[1], '[');
            c += 2 + strspn(c + 2, "0123456789;?");
            cr_assert(strchr("HJK", *c), "%s", c);
            if (*c == 'H')
                row = column = 0;
        } else if (*c == '\r') {
            column = 0;
        } else if (*c == '\n') {
            row++;
        } else {
            column += ((unsigned char)*c & 0xc0) != 0x80;
        }
        cr_assert_leq(column, columns, "%d x %d", rows, columns);
        cr_assert_lt(row, rows, "%d x %d", rows, columns);
    }
}

Test(top, fits_every_terminal)
{
    static const int widths[] = { 1, 2, 20, 79, 80, 81, 120, 200, 511, 512, 513, 65535 };
    fill(&before, 1, "0");
    fill(&now, 1.0000001, "18446744073709551615");
    for (int rows = 1; rows < 120; rows++)
        for (size_t i = 0; i < ARRAY_LENGTH(widths); i++)
            fits(shown(true, rows, widths[i]), rows, widths[i]);
    fits(shown(true, 65535, 65535), 65535, 65535);
}

Test(top, a_small_terminal_shows_cores_and_servers_and_a_large_one_whole_names)
{
    fill(&before, 1, "0");
    fill(&now, 2, "100");
    char *text = shown(true, 24, 100);
    expect_says(text, "all 40");
    expect_says(text, "a-pool-of-some");
    expect_says(shown(true, 1, 80), "weir: up");
    expect_says(shown(true, 200, 200), "a-pool-of-some-length-39 a-server-with-a-long-name.39.example.com:8080 drained");
    expect_says(shown(false, 200, 0), "a-pool-of-some-length-39 a-server-with-a-long-name.39.example.com:8080 drained");
}

Test(top, a_name_cannot_command_the_terminal)
{
    read_lines(&before, 1, "engine 1 1 0 0\n");
    read_lines(&now, 2, "engine 1 2 0 1\nserver \033[2J 5 0 0 0 " NONE " \033]0;x\a unix:/\xc2\x9b" "31m\x7f\t.sock\n");
    fits(shown(true, 30, 100), 30, 100);
    expect_says(shown(true, 30, 100), "unix:/?31m??.sock");
}
