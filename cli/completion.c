/* Completion for shells, written from the tables of verbs and options, so that it cannot be out of date. Servers are asked for live. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/base/slice.h"

/* The first word of each server's line in the listing of pools. */
#define LIST_SERVERS "weir pools 2>/dev/null | awk '/^  / && $1 != \"server\" { print $1 }'"

static void put_verbs(const char *between)
{
    for (int i = 0; i < verb_count; i++)
        printf("%s%s", i ? between : "", verbs[i].word);
}

static bool chooses_servers(const struct verb *verb)
{
    return verb->choices && strcmp(verb->choices, CHOICES_SERVERS) == 0;
}

/* The words that may follow a verb, when not only the engine knows them. */
static void put_choices(const struct verb *verb)
{
    if (strcmp(verb->choices, CHOICES_VERBS) == 0)
        put_verbs(" ");
    else
        fputs(verb->choices, stdout);
}

static void put_options(const struct verb *verb)
{
    for (int i = 0; i < option_count; i++)
        if ((verb->options | OPTION_HELP) & option_rows[i].bit)
            printf(" %s", option_rows[i].name);
}

/* Files after these; nothing is known of what follows others. */
static bool names_a_file(const struct option_row *row)
{
    return row->bit == OPTION_FILE || row->bit == OPTION_SOCKET;
}

/*
 * bash: colons are not to break words, or addresses come in pieces. What an engine calls its servers never comes near compgen -W, which
 * would run a $(command) in it, and is offered in quotes, so that the command line does not run it either. -------------
 */

static void bash_verb(const struct verb *verb)
{
    printf("    %s) options='", verb->word);
    put_options(verb);
    fputs("'", stdout);
    if (chooses_servers(verb)) {
        fputs("; choices=$(_weir_servers)", stdout);
    } else if (verb->choices) {
        fputs("; choices='", stdout);
        put_choices(verb);
        fputs("'", stdout);
    }
    puts(" ;;");
}

static void bash(void)
{
    fputs("_weir_servers() {\n"
          "    " LIST_SERVERS "\n"
          "}\n"
          "_weir() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= choices= choice\n"
          "    if declare -F _get_comp_words_by_ref >/dev/null; then\n"
          "        _get_comp_words_by_ref -n : -c word -p before\n"
          "    fi\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '", stdout);
    put_verbs(" ");
    fputs("' -- \"$word\"))\n        return\n    fi\n    case $before in\n    -c", stdout);
    for (int i = 0; i < option_count; i++)
        if (names_a_file(&option_rows[i]))
            printf("|%s", option_rows[i].name);
    fputs(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    esac\n    case ${COMP_WORDS[1]} in\n", stdout);
    for (int i = 0; i < verb_count; i++)
        bash_verb(&verbs[i]);
    fputs("    esac\n"
          "    case $word in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
          "    *) while read -r choice; do\n"
          "           [[ -n $choice && $choice == \"$word\"* ]] && COMPREPLY+=(\"$(printf %q \"$choice\")\")\n"
          "       done <<<\"${choices// /$'\\n'}\" ;;\n"
          "    esac\n"
          "    if declare -F __ltrim_colon_completions >/dev/null; then\n"
          "        __ltrim_colon_completions \"$word\"\n"
          "    fi\n"
          "}\n"
          "complete -F _weir weir\n", stdout);
}

/* zsh ------------------------------------------------------------------------------------------------------------ */

/* Between single quotes, and a colon would end a description. */
static void put_zsh(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\'')
            fputs("'\\''", stdout);
        else if (*c == ':' || *c == '[' || *c == ']')
            printf("\\%c", *c);
        else
            putchar(*c);
    }
}

/* '--name[what it does]:VALUE:what completes it' */
static void zsh_spelling(const char *spelling, const struct option_row *row)
{
    fputs(OPTIONS_REPEATED & row->bit ? " '*" : " '", stdout);
    printf("%s[", spelling);
    put_zsh(row->summary);
    fputs("]", stdout);
    if (row->value)
        printf(":%s:%s", row->value, names_a_file(row) ? "_files" : "");
    fputs("'", stdout);
}

static void zsh_option(const struct option_row *row)
{
    const char letter[] = { '-', row->letter, 0 };
    zsh_spelling(row->name, row);
    if (row->letter)
        zsh_spelling(letter, row);
}

static void zsh_verb(const struct verb *verb)
{
    printf("    %s) _arguments", verb->word);
    for (int i = 0; i < option_count; i++)
        if ((verb->options | OPTION_HELP) & option_rows[i].bit)
            zsh_option(&option_rows[i]);
    if (chooses_servers(verb))
        fputs(" '1:server:_weir_servers'", stdout);
    else if (verb->choices) {
        fputs(" '1:word:(", stdout);
        put_choices(verb);
        fputs(")'", stdout);
    }
    puts(" ;;");
}

static void zsh(void)
{
    fputs("#compdef weir\n"
          "_weir_servers() {\n"
          "    local -a servers\n"
          "    servers=(${(f)\"$(" LIST_SERVERS ")\"})\n"
          "    compadd -a servers\n"
          "}\n"
          "_weir() {\n"
          "    local -a verbs\n"
          "    verbs=(\n", stdout);
    for (int i = 0; i < verb_count; i++) {
        printf("        '%s:", verbs[i].word);
        put_zsh(verbs[i].summary);
        puts("'");
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe verb verbs\n"
          "        return\n"
          "    fi\n"
          "    local verb=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $verb in\n", stdout);
    for (int i = 0; i < verb_count; i++)
        zsh_verb(&verbs[i]);
    fputs("    esac\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _weir ]; then\n"
          "    _weir \"$@\"\n"
          "else\n"
          "    compdef _weir weir\n"
          "fi\n", stdout);
}

/* fish ----------------------------------------------------------------------------------------------------------- */

/* Between single quotes, where fish knows two escapes. */
static void put_fish(const char *text)
{
    fputs("'", stdout);
    for (const char *c = text; *c; c++)
        printf("%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
    fputs("'", stdout);
}

static void fish_option(const struct verb *verb, const struct option_row *row)
{
    printf("complete -c weir -n '__fish_seen_subcommand_from %s' -l %s", verb->word, row->name + 2);
    if (row->letter)
        printf(" -s %c", row->letter);
    if (row->value)
        fputs(names_a_file(row) ? " -r -F" : " -x", stdout);
    fputs(" -d ", stdout);
    put_fish(row->summary);
    puts("");
}

static void fish_choices(const struct verb *verb)
{
    printf("complete -c weir -n '__fish_seen_subcommand_from %s' -a ", verb->word);
    if (chooses_servers(verb))
        fputs("'(__weir_servers)'", stdout);
    else {
        fputs("'", stdout);
        put_choices(verb);
        fputs("'", stdout);
    }
    puts("");
}

static void fish(void)
{
    fputs("function __weir_servers\n    " LIST_SERVERS "\nend\ncomplete -c weir -f\n", stdout);
    for (int i = 0; i < verb_count; i++) {
        printf("complete -c weir -n __fish_use_subcommand -a %s -d ", verbs[i].word);
        put_fish(verbs[i].summary);
        puts("");
        for (int j = 0; j < option_count; j++)
            if ((verbs[i].options | OPTION_HELP) & option_rows[j].bit)
                fish_option(&verbs[i], &option_rows[j]);
        if (verbs[i].choices)
            fish_choices(&verbs[i]);
    }
}

/* The verb ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    void (*print)(void);
} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

int verb_completion(const struct options *options)
{
    for (size_t i = 0; i < ARRAY_LENGTH(shells); i++) {
        if (strcmp(shells[i].word, options->words[0]) == 0) {
            shells[i].print();
            return EXIT_OK;
        }
    }
    fprintf(stderr, "weir: completion is there for bash, zsh and fish\n");
    return EXIT_USAGE;
}
