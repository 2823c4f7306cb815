#include "engine/passwords.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"

/* "open sesame" each time. */
#define BCRYPT "$2b$04$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG"
#define BCRYPT_2Y "$2y$05$xvzxUEuavX8e2VoFTT1DdexNMKb3CqsDg4LjqtkaZxl0Mc2fs0Pi."
#define YESCRYPT "$y$j75$pQhTYAthT52be6uygy8aj0$dglp2aW.c2sYb3gFQxCS5oJ/hW9onqbZKn0eOuhqeR3"
#define SHA512 "$6$rounds=1000$pa4B/tZZvJCD1D3p$EEpgXRZaLJftwYpPYTdBPzVXkvB1OlPPLF2G6oUby32tV4TJbsJq5e/K3F7wSc0r915AzRyZe6lR.8qwsMukB1"
#define SHA256 "$5$rounds=1000$eilFAJY4ej2lQSHi$HYYZRXblSA32KqO.w4uke4D78Y82ZukRAKC8APuF3yA"
#define SHA512_PLAIN "$6$Ztw.yIFtIGfqN5Rx$2Oqdi6z.RR9M4AYS/vTFbIaJvx.x1UQhto02y6nqawyh6KjbD.w.j9tT7nyuJnER5H9mYGXTi.UfgvtPB6Sf1/"

static char path[64];
static char why[256];

static void set_up(void)
{
    snprintf(path, sizeof path, "/tmp/weir-users-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static void take_down(void)
{
    unlink(path);
}

TestSuite(passwords, .init = set_up, .fini = take_down);

static void write_file(const char *bytes, size_t length)
{
    FILE *file = fopen(path, "w");
    cr_assert(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
}

static struct passwords *read_text(const char *text)
{
    write_file(text, strlen(text));
    why[0] = '\0';
    return passwords_read(slice_of_text(path), NULL, why);
}

static bool matches(const struct passwords *passwords, const char *name, const char *password)
{
    bool known;
    void *room = malloc(PASSWORDS_ROOM_BYTES);
    bool same = passwords_match(passwords_hash(passwords, slice_of_text(name), &known), slice_of_text(password), room);
    free(room);
    return same && known;
}

Test(passwords, every_hash_that_is_taken_is_verified)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
    struct passwords *passwords = read_text("# people\n\na:" BCRYPT "\nb:" BCRYPT_2Y "\r\n  c:" YESCRYPT "  \nd:" SHA512 "\ne:" SHA256 "\n\tf:" SHA512_PLAIN);
    cr_assert_not_null(passwords, "%s", why);
    cr_expect_eq(passwords_count(passwords), 6);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        cr_expect(matches(passwords, names[i], "open sesame"), "%s", names[i]);
        cr_expect(!matches(passwords, names[i], "open sesam"), "%s", names[i]);
        cr_expect(!matches(passwords, names[i], ""), "%s", names[i]);
    }
    passwords_unref(passwords);
}

Test(passwords, who_is_not_there_is_not_known_but_costs_the_same)
{
    struct passwords *passwords = read_text("a:" BCRYPT "\nb:" SHA512 "\n");
    bool known;
    const char *hash = passwords_hash(passwords, SLICE("nobody"), &known);
    cr_expect(!known && (strcmp(hash, BCRYPT) == 0 || strcmp(hash, SHA512) == 0));
    cr_expect_eq(passwords_hash(passwords, SLICE("nobody"), &known), hash, "the same for each asking");
    cr_expect(!matches(passwords, "nobody", "open sesame"));
    cr_expect(!matches(passwords, "", "open sesame"));
    cr_expect(!matches(passwords, "A", "open sesame"), "names have case");
    passwords_unref(passwords);
}

Test(passwords, names_may_have_what_a_colon_is_not)
{
    struct passwords *passwords = read_text("J\xc3\xb6rg Q:" BCRYPT "\nab:" BCRYPT "\na:" BCRYPT "\nabc:" BCRYPT "\n");
    cr_assert_not_null(passwords, "%s", why);
    cr_expect(matches(passwords, "J\xc3\xb6rg Q", "open sesame"));
    cr_expect(matches(passwords, "a", "open sesame") && matches(passwords, "ab", "open sesame") && matches(passwords, "abc", "open sesame"));
    passwords_unref(passwords);
}

Test(passwords, what_is_no_users_file)
{
    static const char *const rows[][2] = {
        { "", "it is empty" },
        { "# nobody\n\n", "it names nobody" },
        { "a:" BCRYPT "\nb\n", "line 2: a line is name:hash" },
        { ":" BCRYPT "\n", "line 1: the name is missing" },
        { "a\x01:" BCRYPT "\n", "line 1: a name has no control" },
        { "a:\n", "line 1: no hash of bcrypt" },
        { "a:" BCRYPT "\n\n#\nb:" SHA256 "\na:" SHA512 "\n", "line 5: \"a\" stands in line 1 already" },
        { "a:open sesame\n", "line 1: no hash of bcrypt" },
        { "a:!\n", "line 1: no hash of bcrypt" },
        { "a:" BCRYPT ":0:0\n", "line 1: the hash is malformed" },
        { "a:$1$uMw0y2pB$p1NblQQQyOk8s/PmxMkXD0\n", "line 1: MD5 can be guessed" },
        { "a:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n", "line 1: Apache's MD5 can be guessed" },
        { "a:$md5,rounds=48911$VsDCRaVg$$x.pKnjOzJHZeIP.acIsyR1\n", "line 1: Sun's MD5" },
        { "a:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n", "line 1: SHA-1" },
        { "a:$sha1$891$QpTApwbDHqj/ABKv2AfU$X2Y76iux1Ig3ZgnkJQM7Bjk4aUzR\n", "line 1: SHA-1" },
        { "a:$3$$eddcf896aaf1f0c3f83d4daa964f17bf\n", "line 1: NT's hash" },
        { "a:_J9..FCYP5MIDn8Ohgrg\n", "line 1: DES" },
        { "a:vazvyKZjz1nIo\n", "line 1: DES, or a plain password" },
        { "a:$2x$04$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG\n", "line 1: no hash" },
        { "a:$gy$j75$3viiBcCu/YRhH9UFOrkH61$5yFSSxs.kMqo.Ab3ewLPMKn9.NxEX9zwI.rYc/V9GYB\n", "line 1: no hash" },
        { "a:$2b$04$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXL\n", "line 1: the hash is malformed" },
        { "a:$2b$4$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG\n", "line 1: the hash is malformed" },
        { "a:$2b$31$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG\n", "line 1: a cost of bcrypt above 14" },
        { "a:$5$rounds=999999999$eilFAJY4ej2lQSHi$HYYZRXblSA32KqO.w4uke4D78Y82ZukRAKC8APuF3yA\n", "line 1: more than 1000000 rounds" },
        { "a:$5$rounds=x$eilFAJY4ej2lQSHi$HYYZRXblSA32KqO.w4uke4D78Y82ZukRAKC8APuF3yA\n", "line 1: the hash is malformed" },
        { "a:$6$x$HYYZRXblSA32KqO.w4uke4D78Y82ZukRAKC8APuF3yA\n", "line 1: the hash is malformed" },
        { "a:$y$jFT$13wuiy1VN8mD9dSKbw9pL/$JtsC2yY4Bjlnnl9xbjPmrlBzkjP5ego4At/Rb6XWAmD\n", "line 1: these parameters of yescrypt" },
        { "a:$y$j9T$8w5B2kSGLLXaF6h61mgu70\n", "line 1: the hash is malformed" },
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        cr_expect_null(read_text(rows[i][0]), "%s", rows[i][0]);
        cr_expect(strstr(why, rows[i][1]), "%s: %s", rows[i][0], why);
        cr_expect(strstr(why, path), "%s", why);
    }
}

Test(passwords, debians_own_default_is_taken)
{
    struct passwords *passwords = read_text("a:$y$j9T$8w5B2kSGLLXaF6h61mgu70$.vzH3DDrzvPCLWLJT4QCcgk3NPNtqZDXVROa83h3Ql8\n"
                                            "b:$y$jCT$G9JXMc1Uje/dm1tcifNgU/$1M6YYooYskLhcFeuX/oPyAxWP013DGjU4vzsOGXJeM8\n");
    cr_assert_not_null(passwords, "%s", why);
    passwords_unref(passwords);
}

Test(passwords, a_file_that_cannot_be_read_says_why)
{
    cr_expect_null(passwords_read(SLICE("/nowhere/users"), NULL, why));
    cr_expect_str_eq(why, "users \"/nowhere/users\": No such file or directory");
    cr_expect_null(passwords_read(SLICE("/tmp"), NULL, why));
    cr_expect(strstr(why, "Is a directory"), "%s", why);
}

Test(passwords, bytes_that_are_no_text)
{
    static const char bytes[] = "a:" BCRYPT "\0b\nc\0:" BCRYPT "\n";
    write_file(bytes, sizeof bytes - 1);
    cr_expect_null(passwords_read(slice_of_text(path), NULL, why));
    cr_expect(strstr(why, "line 1"), "%s", why);
}

Test(passwords, too_many_and_too_large)
{
    FILE *file = fopen(path, "w");
    for (unsigned i = 0; i <= PASSWORDS_USERS_MAX && i < 70000; i++)
        fprintf(file, "%x:$2b$04$Qr5kriuCJejUMVPpeQ0KBu1g3A3ce8eylgCnjoUZehVYeBAuNaXLG\n", i);
    fclose(file);
    cr_expect_null(passwords_read(slice_of_text(path), NULL, why));
    cr_expect(strstr(why, "it is too large") || strstr(why, "more than 65536 users"), "%s", why);
}

Test(passwords, the_same_bytes_are_the_same_object)
{
    struct passwords *first = read_text("a:" BCRYPT "\n");
    struct passwords *second = passwords_read(slice_of_text(path), first, why);
    cr_expect_eq(first, second);
    write_file("b:" BCRYPT "\n", sizeof "b:" BCRYPT "\n" - 1);
    struct passwords *third = passwords_read(slice_of_text(path), first, why);
    cr_expect(third && third != first && passwords_serial(third) != passwords_serial(first));
    cr_expect(matches(first, "a", "open sesame") && !matches(first, "b", "open sesame"), "what is in use does not change");
    cr_expect(matches(third, "b", "open sesame") && !matches(third, "a", "open sesame"));
    passwords_unref(first);
    passwords_unref(second);
    passwords_unref(third);
    passwords_unref(NULL);
}

Test(passwords, what_is_no_password_does_not_match)
{
    static char room[65536];
    char large[400];
    cr_assert(PASSWORDS_ROOM_BYTES <= sizeof room);
    memset(large, 'a', sizeof large);
    cr_expect(!passwords_match(BCRYPT, slice_of(large, sizeof large), room));
    cr_expect(!passwords_match(BCRYPT, slice_of("open sesame\0", 12), room));
    cr_expect(!passwords_match("$2b$04$", SLICE("open sesame"), room));
    cr_expect(!passwords_match("", SLICE(""), room));
    cr_expect(passwords_match(BCRYPT, SLICE("open sesame"), room));
    for (size_t i = 0; i < PASSWORDS_ROOM_BYTES; i++)
        cr_assert_eq(room[i], 0);
}

#ifdef WEIR_FAULTS
Test(passwords, each_want_of_memory_is_told)
{
    for (uint64_t n = 1; n < 20; n++) {
        fault_arm(n);
        struct passwords *passwords = read_text("a:" BCRYPT "\n");
        bool struck = fault_count() >= n;
        fault_arm(0);
        cr_expect(struck ? passwords == NULL && why[0] : passwords != NULL, "%llu: %s", (unsigned long long)n, why);
        passwords_unref(passwords);
        if (!struck)
            return;
    }
    cr_assert(false, "there are more fault points than that");
}
#endif
