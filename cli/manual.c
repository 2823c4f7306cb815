/*
 * weir.yaml(5): a frame round the table of keys, which the engine writes from the rows that read the file, so that the page cannot
 * be out of date. `make install` and `weir config manual | man -l -` take it from here.
 */
#include <stdio.h>

#include "cli/cli.h"
#include "engine/base/text.h"
#include "engine/config.h"

static const char before[] =
    ".SH NAME\n"
    "weir.yaml \\- configuration of the weir reverse proxy\n"
    ".SH DESCRIPTION\n"
    "One YAML file says where\n.BR weir (1)\nlistens, which requests go where, and which servers stand behind it.\n"
    "The first route that matches a request takes it. What is left out has the default that is given here, and\n"
    ".B weir config show\nprints a configuration with all of them.\n"
    "A key that is not known is an error, and so is a value without its unit where one belongs.\n"
    ".B weir check\nreports every error at once, each with its line and column.\n"
    ".PP\n"
    "Durations are numbers with a unit:\n.BR us ,\n.BR ms ,\n.BR s ,\n.BR m ,\n.BR h .\n"
    "Sizes are numbers with\n.BR B ,\n.BR KiB ,\n.BR MiB\nor\n.BR GiB .\n"
    "Addresses are host:port, [IPv6]:port or unix:/path; a listener may also say :port, for every address of both families.\n"
    ".PP\n"
    ".B weir reload\nputs a changed file into force without closing or moving a connection. Keys that need a restart say so below;\n"
    "a reload that changes one of them is refused as a whole.\n"
    ".SH EXAMPLE\n"
    ".nf\n"
    "listeners:\n"
    "  \\- address: :8080\n"
    "  \\- { address: 127.0.0.1:9090, serve: admin }\n"
    "routes:\n"
    "  \\- match: { host: static.example.com, path: /assets/* }\n"
    "    pool: assets\n"
    "    rewrite: { strip\\-prefix: /assets }\n"
    "  \\- pool: app\n"
    "pools:\n"
    "  app:\n"
    "    servers: [ 10.0.0.2:3000, 10.0.0.3:3000 ]\n"
    "    health: { path: /healthz, interval: 2s }\n"
    "  assets:\n"
    "    balance: consistent\\-hash\n"
    "    hash\\-key: uri\n"
    "    servers: [ { address: 10.0.0.5:80, weight: 2 }, 10.0.0.6:80 ]\n"
    ".fi\n"
    ".SH KEYS\n"
    "A section's name shows where it stands:\n"
    ".B pools.NAME.servers[].\nis for each server in the list of each pool.\n";

static const char after[] =
    ".SH FILES\n"
    "An example with comments is installed as\n.IR PREFIX/share/doc/weir/examples/weir.yaml .\n"
    ".B weir config schema\nprints a JSON Schema (2020\\-12) of the file, for editors.\n"
    ".SH SEE ALSO\n"
    ".BR weir (1)\n";

int config_print_manual(const struct options *options)
{
    struct text text = { 0 }, json = { 0 };
    text_format(&text, ".TH WEIR.YAML 5 \"\" \"weir %s\" \"File formats\"\n", weir_version);
    text_add(&text, SLICE(before));
    config_manual(&text);
    text_add(&text, SLICE(after));
    if (options->json) {
        text_add(&json, SLICE("{\"manual\":"));
        text_json_string(&json, text_slice(&text));
        text_add(&json, SLICE("}\n"));
    }
    bool well = !text.failed && !json.failed;
    if (well)
        fputs(text_slice(options->json ? &json : &text).at, stdout);
    text_release(&text);
    text_release(&json);
    return well ? EXIT_OK : EXIT_FAILED;
}
