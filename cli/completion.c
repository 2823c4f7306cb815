#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* The words come from the table of verbs, so they cannot be out of date. */
int verb_completion(const struct options *options)
{
    if (strcmp(options->words[0], "bash") != 0) {
        fprintf(stderr, "weir: completion is there for bash\n");
        return EXIT_USAGE;
    }
    printf("_weir() {\n    local word=${COMP_WORDS[COMP_CWORD]}\n    if [ $COMP_CWORD -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    for (int i = 0; i < verb_count; i++)
        printf("%s%s", i ? " " : "", verbs[i].word);
    printf("' -- \"$word\"))\n    elif [[ $word == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W '--config --socket --json --now --once --effective --deadline --to' -- \"$word\"))\n"
           "    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\ncomplete -F _weir weir\n");
    return EXIT_OK;
}
