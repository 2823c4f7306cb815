# Weir's build, in one file and without recursion into folders.
#
#   make                 build/weir                      make help      every target, with a line on each
#   make test            everything that checks it       make unit-proto   one room's unit tests, needing no other room
#
# Variants. The same sources are compiled several ways, each into a directory of its own that mirrors the tree:
#
#   release   -O2, link-time optimisation; what build/weir is
#   debug     -Og, all checks
#   asan      AddressSanitizer + UndefinedBehaviorSanitizer, with the fault points (WEIR_FAULTS); tests run on this one
#   tsan      ThreadSanitizer
#   fuzz      clang, for libFuzzer
#
# Rooms. The folders depend on each other only downwards (README.md of each folder), so the unit tests of a room are linked
# with the rooms below it and nothing else: `make unit-proto` works while the engine does not compile.
#
# Variables for the command line: VARIANT=asan, WERROR=1, LTO=0, V=1 (show commands), EXTRA_CFLAGS, EXTRA_LDFLAGS,
# BUILD=directory, FUZZ_SECONDS, WEIR=binary (for scenes), PREFIX, DESTDIR. CI=true implies WERROR=1.

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# As many jobs as there are cores, unless the caller said how many. (make 4.3 tells the shell, but not itself.)
MAKEFLAGS += $(shell echo " $$MAKEFLAGS" | grep -q -- ' -j' || echo "-j$$(nproc 2>/dev/null || echo 2)")

BUILD ?= build
VARIANT ?=
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
ifeq ($(CI),true)
WERROR ?= 1
endif

quiet = $(if $(V),,@printf '  %-5s %s\n' $1 $@;)

# ---- Sources ----------------------------------------------------------------------------------------------------------

BASE_SOURCES   := $(sort $(wildcard engine/base/*.c))
PROTO_SOURCES  := $(sort $(wildcard proto/*.c))
POOL_SOURCES   := $(sort $(wildcard pool/*.c))
CACHE_SOURCES  := $(sort $(wildcard cache/*.c))
POLICY_SOURCES := $(sort $(wildcard engine/policy/*.c))
ENGINE_SOURCES := $(sort $(wildcard engine/*.c))
CLI_SOURCES    := $(sort $(wildcard cli/*.c))
SOURCES := $(BASE_SOURCES) $(PROTO_SOURCES) $(POOL_SOURCES) $(CACHE_SOURCES) $(POLICY_SOURCES) $(ENGINE_SOURCES) \
           $(CLI_SOURCES)

# The file with the program's main(), which no test binary links. Empty while there is none.
MAIN_SOURCE := $(shell grep -lsE '^int main\b' cli/main.c engine/main.c)
PARTS := $(filter-out $(MAIN_SOURCE),$(SOURCES))

# What the unit tests of each folder may use.
UNIT_SOURCES_base   := $(BASE_SOURCES)
UNIT_SOURCES_proto  := $(BASE_SOURCES) $(PROTO_SOURCES)
UNIT_SOURCES_pool   := $(BASE_SOURCES) $(POOL_SOURCES)
UNIT_SOURCES_cache  := $(BASE_SOURCES) $(PROTO_SOURCES) $(CACHE_SOURCES)
UNIT_SOURCES_policy := $(BASE_SOURCES) $(PROTO_SOURCES) $(POOL_SOURCES) $(POLICY_SOURCES)
UNIT_SOURCES_engine := $(filter-out $(CLI_SOURCES),$(PARTS))
UNIT_SOURCES_cli    := $(PARTS)

# Folders that have unit tests; tests/unit/*.c are helpers shared by all of them.
UNITS := $(strip $(foreach folder,base proto pool cache policy engine cli,\
             $(if $(wildcard tests/unit/$(folder)/*_test.c),$(folder))))
UNIT_HELPERS := $(sort $(wildcard tests/unit/*.c))

# The simulation is one binary. A file tests/sim/<name>.c stands in for engine/<name>.c: so a seeded ring or clock takes
# the place of the real one at link time, and nothing else in the engine knows.
SIM_TESTS := $(sort $(wildcard tests/sim/*.c))
SIM_SOURCES := $(filter-out $(CLI_SOURCES) $(patsubst tests/sim/%,engine/%,$(SIM_TESTS)),$(PARTS))

# A fuzzer is named for the file it feeds: tests/fuzz/<name>_fuzz.c. It is linked with all rooms but the engine, unless
# engine/<name>.c is what it feeds; other files in tests/fuzz are helpers shared by all of them.
FUZZERS := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
FUZZ_HELPERS := $(filter-out %_fuzz.c,$(sort $(wildcard tests/fuzz/*.c)))
fuzz_sources = $(filter-out $(if $(wildcard engine/$1.c),,$(ENGINE_SOURCES)) $(CLI_SOURCES),$(PARTS))

# Tests that need ThreadSanitizer: those of tests/tsan, and the engine's unit tests (tests/run picks their suites).
TSAN_RUNNER := $(wildcard tests/tsan/runner.c)
TSAN_TESTS := $(sort $(wildcard tests/tsan/*_test.c))

MICROS := $(patsubst perf/micro/%.c,%,$(sort $(wildcard perf/micro/*.c)))

# ---- Libraries --------------------------------------------------------------------------------------------------------
# liburing is linked statically. Where the system's is too old, .ci/deps has built one in the user's cache directory.

WEIR_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir
space := $() $()
PKG_CONFIG_DIRECTORIES := $(PKG_CONFIG_PATH) $(sort $(wildcard $(WEIR_CACHE)/liburing-*/lib/pkgconfig))
PKG := PKG_CONFIG_PATH='$(subst $(space),:,$(strip $(PKG_CONFIG_DIRECTORIES)))' pkg-config

LIBURING := $(shell $(PKG) --exists 'liburing >= 2.9' 2>/dev/null && $(PKG) --variable=libdir liburing)
LIBURING_CFLAGS := $(if $(LIBURING),$(patsubst -I%,-isystem %,$(shell $(PKG) --cflags liburing)))
# wolfSSL likewise, but always from there (.ci/deps says why). Intel's AES-GCM where Debian has it.
WOLFSSL := $(lastword $(sort $(wildcard $(WEIR_CACHE)/wolfssl-*-recipe$(shell sed -n 's/^wolfssl_recipe=//p' .ci/deps))))
WOLFSSL_CFLAGS := $(if $(WOLFSSL),-isystem $(WOLFSSL)/include)
IPSEC_MB := $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB)
LIBS := $(if $(LIBURING),$(LIBURING)/liburing.a) $(if $(WOLFSSL),$(WOLFSSL)/lib/libwolfssl.a) $(IPSEC_MB) -lm -lcrypt \
        $(or $(shell $(PKG) --libs yaml-0.1 libcbor libcares libbrotlienc libzstd zlib 2>/dev/null),\
             -lyaml -lcbor -lcares -lbrotlienc -lzstd -lz)

# Expanded in the recipes that compile, so that `make help` and `make deps` need nothing.
need_libraries = $(if $(LIBURING),,$(error liburing >= 2.9 was not found: `make deps` brings it))\
                 $(if $(WOLFSSL),,$(error wolfSSL was not found: `make deps` builds it))

# ---- Flags ------------------------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough \
            -Wswitch -Wno-switch-enum
ERRORS := $(if $(filter 1,$(WERROR)),-Werror)

# The baseline is the architecture's own: what wants newer instructions asks the CPU at run time.
COMMON := -std=gnu11 -g -fno-omit-frame-pointer -pthread -D_GNU_SOURCE -I. $(LIBURING_CFLAGS) $(WOLFSSL_CFLAGS)
HARDEN := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LINK_COMMON := -pthread -Wl,--as-needed
LINK_HARDEN := -pie -Wl,-z,relro,-z,now

LTO ?= 1
LTO_FLAGS := $(if $(filter 1,$(LTO)),-flto=auto)
ASAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN_FLAGS := -fsanitize=thread

# -Wnull-dereference and -Wmaybe-uninitialized follow the optimiser, and the sanitizers lead it astray: release is the
# judge of those. With LTO they speak when linking, so that is given the warnings too.
CFLAGS_release := $(COMMON) -O2 -fno-plt $(HARDEN) $(LTO_FLAGS)
CFLAGS_debug   := $(COMMON) -Og -g3 -fstack-protector-strong -fPIE
CFLAGS_asan    := $(COMMON) -O1 -fPIE -fno-optimize-sibling-calls $(ASAN_FLAGS) -DWEIR_FAULTS=1
CFLAGS_tsan    := $(COMMON) -O1 -fPIE $(TSAN_FLAGS)
CFLAGS_fuzz    := $(COMMON) -O1 -fno-sanitize-recover=all

WARNINGS_release := -Wnull-dereference
WARNINGS_asan    := -Wno-maybe-uninitialized
WARNINGS_tsan    := -Wno-maybe-uninitialized

LDFLAGS_release := $(LINK_COMMON) $(LINK_HARDEN) $(if $(LTO_FLAGS),-O2 $(LTO_FLAGS) $(WARNINGS) $(WARNINGS_release))
LDFLAGS_debug   := $(LINK_COMMON) $(LINK_HARDEN)
LDFLAGS_asan    := $(LINK_COMMON) -pie $(ASAN_FLAGS)
LDFLAGS_tsan    := $(LINK_COMMON) -pie $(TSAN_FLAGS)
LDFLAGS_fuzz    := $(LINK_COMMON)

# A commit must not rebuild the world: only these files see the version.
VERSION := 0.1.0
VERSION_SOURCES := $(wildcard cli/main.c engine/main.c)
GIT_DESCRIBE := $(if $(wildcard .git),$(shell git describe --always --match 'v[0-9]*' 2>/dev/null))
WEIR_VERSION := $(or $(patsubst v%,%,$(filter v%,$(GIT_DESCRIBE))),$(VERSION)$(addprefix +g,$(GIT_DESCRIBE)))

# ---- How a variant is built -------------------------------------------------------------------------------------------

VARIANTS := release debug asan tsan
objects = $(patsubst %.c,$(BUILD)/$1/%.o,$2)
compile = $(call quiet,CC)$(CC) $(CFLAGS_$1) $2 $(ERRORS) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<
link    = $(call quiet,LD)$(CC) $(LDFLAGS_$1) $(ERRORS) $(EXTRA_LDFLAGS) -o $@ $(filter %.o,$^) $2 $(LIBS)

# Written only when its text changes, so that a change of flags recompiles and nothing else does. WERROR is left out: it
# changes no object.
define keep_text
	@mkdir -p $(@D)
	@printf '%s\n' '$1' | cmp -s - $@ || printf '%s\n' '$1' >$@
endef

define variant_rules
$(BUILD)/$1/flags: FORCE
	$$(call keep_text,$(CC) $$(CFLAGS_$1) $$(WARNINGS) $$(WARNINGS_$1) $$(EXTRA_CFLAGS))

$(BUILD)/$1/%.o: %.c $(BUILD)/$1/flags
	$$(need_libraries)@mkdir -p $$(@D)
	$$(call compile,$1,$$(WARNINGS) $$(WARNINGS_$1) $$(VERSION_FLAGS))

# Helpers shared by test files need no header, and Criterion's macros no judge.
$(BUILD)/$1/tests/%.o: tests/%.c $(BUILD)/$1/flags
	$$(need_libraries)@mkdir -p $$(@D)
	$$(call compile,$1,$$(filter-out -Wmissing-prototypes,$$(WARNINGS)) $$(filter -Wno-%,$$(WARNINGS_$1)))

$(call objects,$1,$(VERSION_SOURCES)): $(BUILD)/version
$(call objects,$1,$(VERSION_SOURCES)): private VERSION_FLAGS := -DWEIR_VERSION='"$(WEIR_VERSION)"'

$(BUILD)/$1/weir: $(call objects,$1,$(SOURCES))
	$$(call link,$1)

$(foreach unit,$(UNITS),$(eval $(call unit_rules,$1,$(unit))))
$(BUILD)/$1/sim: $(call objects,$1,$(SIM_TESTS) $(UNIT_HELPERS) $(SIM_SOURCES))
	$$(call link,$1,-lcriterion)

$(BUILD)/$1/micro/%: $(BUILD)/$1/perf/micro/%.o $(call objects,$1,$(PARTS))
	@mkdir -p $$(@D)
	$$(call link,$1)
endef

# $1 variant, $2 folder. ThreadSanitizer cannot bear Criterion's sandbox: its binaries bring a runner of their own.
define unit_rules
$(BUILD)/$1/unit/$2: $(call objects,$1,$(sort $(wildcard tests/unit/$2/*.c)) $(UNIT_HELPERS) $(UNIT_SOURCES_$2)) \
                     $(if $(filter tsan,$1),$(call objects,$1,$(TSAN_RUNNER)))
	@mkdir -p $$(@D)
	$$(call link,$1,-lcriterion -lbrotlidec)
endef

$(foreach variant,$(VARIANTS),$(eval $(call variant_rules,$(variant))))

$(BUILD)/tsan/threads: $(call objects,tsan,$(TSAN_TESTS) $(TSAN_RUNNER) $(UNIT_HELPERS) $(PARTS))
	$(call link,tsan,-lcriterion)

$(BUILD)/version: FORCE
	$(call keep_text,$(WEIR_VERSION))

$(BUILD)/weir: $(BUILD)/release/weir
	@ln -f $< $@

# clang warns about other things than gcc, whose word counts here.
$(BUILD)/fuzz/flags: FORCE
	$(call keep_text,$(CLANG) $(CFLAGS_fuzz) $(EXTRA_CFLAGS))

$(BUILD)/fuzz/%.o: %.c $(BUILD)/fuzz/flags
	$(need_libraries)@mkdir -p $(@D)
	$(call quiet,CLANG)$(CLANG) $(CFLAGS_fuzz) -fsanitize=fuzzer-no-link,address,undefined -Wall -Wextra \
	    -Wno-unknown-warning-option $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

define fuzz_rules
$(BUILD)/fuzz/run/$1: $(call objects,fuzz,tests/fuzz/$1_fuzz.c $(FUZZ_HELPERS) $(call fuzz_sources,$1))
	@mkdir -p $$(@D)
	$$(call quiet,LD)$(CLANG) $$(LDFLAGS_fuzz) -fsanitize=fuzzer,address,undefined -o $$@ $$(filter %.o,$$^) $(LIBS)
endef
$(foreach fuzzer,$(FUZZERS),$(eval $(call fuzz_rules,$(fuzzer))))

DEPENDENCIES := $(foreach variant,$(VARIANTS) fuzz,$(wildcard $(addprefix $(BUILD)/$(variant)/,\
    *.d */*.d */*/*.d */*/*/*.d)))
-include $(DEPENDENCIES)

.PHONY: FORCE
FORCE:

# ---- Building ---------------------------------------------------------------------------------------------------------

.PHONY: all release debug asan tsan deps help
all: $(if $(VARIANT),$(VARIANT),release) ## build/weir, the optimised binary (VARIANT=debug|asan|tsan: build/<variant>/weir)

# While there is no main(), there is nothing to link yet.
weir_of = $(if $(MAIN_SOURCE),$(BUILD)/$1/weir,$(call objects,$1,$(SOURCES)))
release: $(call weir_of,release) $(if $(MAIN_SOURCE),$(BUILD)/weir)
debug: $(call weir_of,debug) ## build/debug/weir, for a debugger
asan: $(call weir_of,asan)   ## build/asan/weir: AddressSanitizer, UndefinedBehaviorSanitizer, fault points
tsan: $(call weir_of,tsan)   ## build/tsan/weir: ThreadSanitizer

# `make room-proto` compiles one folder's files and links nothing.
ROOM_SOURCES_base   := $(BASE_SOURCES)
ROOM_SOURCES_proto  := $(PROTO_SOURCES)
ROOM_SOURCES_pool   := $(POOL_SOURCES)
ROOM_SOURCES_cache  := $(CACHE_SOURCES)
ROOM_SOURCES_policy := $(POLICY_SOURCES)
ROOM_SOURCES_engine := $(ENGINE_SOURCES)
ROOM_SOURCES_cli    := $(CLI_SOURCES)
ROOMS := $(addprefix room-,base proto pool cache policy engine cli)
.PHONY: $(ROOMS)
$(ROOMS): room-%: ## room-<folder>: compile one folder only (base proto pool cache policy engine cli)
define room_rules
room-$1: $(call objects,$(or $(VARIANT),release),$(ROOM_SOURCES_$1))
endef
$(foreach room,$(patsubst room-%,%,$(ROOMS)),$(eval $(call room_rules,$(room))))

deps: ## install what building needs (Debian 12 or 13; as root or with sudo)
	@.ci/deps build >/dev/null

help: ## this list
	@awk -F ':.*## ' '/^[a-z$$(][^:=]*:.*## / { name = $$1; if (name ~ /^\$$/) { split($$2, word, ": "); name = word[1]; \
	    sub(/^[^:]*: /, "", $$2) } printf "  %-14s %s\n", name, $$2 }' Makefile

# ---- Testing ----------------------------------------------------------------------------------------------------------
# tests/run runs what was built, part by part, and counts. It is given BUILD, WEIR and the rest by the environment.

UNIT_VARIANT := $(or $(VARIANT),asan)
WEIR ?= $(BUILD)/asan/weir
export BUILD FUZZ_SECONDS UNIT_VARIANT

unit_binaries := $(UNITS:%=$(BUILD)/$(UNIT_VARIANT)/unit/%)
sim_binary := $(if $(SIM_TESTS),$(BUILD)/$(UNIT_VARIANT)/sim)
fuzz_binaries := $(FUZZERS:%=$(BUILD)/fuzz/run/%)
tsan_binaries := $(if $(filter engine,$(UNITS)),$(BUILD)/tsan/unit/engine) $(if $(TSAN_TESTS),$(BUILD)/tsan/threads) \
                 $(if $(MAIN_SOURCE),$(BUILD)/tsan/weir)

.PHONY: test test-binaries unit sim fuzz tsan-test scenes tidy
# Packages may be new after the first line, so the Makefile is read again for the second. Whatever does not build counts
# as one failure and the rest is run all the same.
test: ## everything: units, simulation, fuzzers for 5 s each, ThreadSanitizer, scenes, tidy; ends with the sum
	@.ci/deps build test >/dev/null
	@mkdir -p $(BUILD)
	+@status=0; $(MAKE) --no-print-directory -k test-binaries || status=$$?; echo $$status >$(BUILD)/status
	@FUZZ_SECONDS=5 WEIR=$(BUILD)/asan/weir tests/run --build-status $$(cat $(BUILD)/status)

test-binaries: release $(call weir_of,asan) $(unit_binaries) $(sim_binary) $(fuzz_binaries) $(tsan_binaries)

unit: $(unit_binaries) ## the unit tests of all folders
	@tests/run unit

UNIT_TARGETS := $(UNITS:%=unit-%)
.PHONY: $(UNIT_TARGETS)
$(UNIT_TARGETS): unit-%: $(BUILD)/$(UNIT_VARIANT)/unit/% ## unit-<folder>: one folder's unit tests
	@tests/run unit/$*

sim: $(sim_binary) ## the simulation: seeded ring, clock and disk
	@tests/run sim

fuzz: $(fuzz_binaries) ## each fuzzer for FUZZ_SECONDS (60)
	@tests/run fuzz

FUZZ_TARGETS := $(FUZZERS:%=fuzz-%)
.PHONY: $(FUZZ_TARGETS)
$(FUZZ_TARGETS): fuzz-%: $(BUILD)/fuzz/run/% ## fuzz-<name>: one fuzzer
	@tests/run fuzz/$*

tsan-test: $(tsan_binaries) ## what can race, under ThreadSanitizer
	@tests/run tsan

scenes: $(WEIR) ## stories against the real binary (WEIR=build/release/weir for another than asan's)
	@WEIR=$(WEIR) tests/run scenes

tidy: ## the tree's own rules
	@tests/run tidy

# ---- Running and measuring --------------------------------------------------------------------------------------------

.PHONY: run bench micro soak bytes flamegraph
run: ## build and run the demonstration
	@.ci/deps build >/dev/null
	+@$(MAKE) --no-print-directory $(BUILD)/weir
	@exec $(BUILD)/weir demo

bench: ## load side by side with nginx, HAProxy and Varnish (perf/load/run)
	@.ci/deps build perf >/dev/null
	+@$(MAKE) --no-print-directory $(BUILD)/weir
	@perf/load/run $(ARGS)

micro: $(MICROS:%=$(BUILD)/release/micro/%) ## the small benchmarks of perf/micro, each in turn
	@set -e; for benchmark in $^; do echo "== $${benchmark##*/}"; $$benchmark $(ARGS); done

soak: ## ten minutes of the cache under load, purges, reloads and failures (perf/soak/run; ARGS='--seconds 60')
	@.ci/deps build >/dev/null
	+@$(MAKE) --no-print-directory $(BUILD)/asan/weir
	@perf/soak/run $(ARGS)

bytes: ## 10 GB and 100,000 tunnels through Weir, every byte checked (perf/bytes/run; ARGS='--bytes 300M --tunnels 2000')
	@.ci/deps build >/dev/null
	+@$(MAKE) --no-print-directory $(BUILD)/asan/weir
	@perf/bytes/run $(ARGS)

flamegraph: ## where the time goes, as a picture (perf/flamegraph)
	@.ci/deps build perf >/dev/null
	+@$(MAKE) --no-print-directory $(BUILD)/weir
	@perf/flamegraph $(ARGS)

# ---- Keeping house ----------------------------------------------------------------------------------------------------

.PHONY: install clean format
# Under sudo a liburing in the user's own cache is not seen, and nothing could be compiled: what was built is installed.
built := $(if $(LIBURING),$(BUILD)/weir,$(if $(wildcard $(BUILD)/weir),,$(BUILD)/weir))

# What the binary writes itself cannot be out of date: weir.yaml(5) and the shells' completion. Where each goes:
GENERATED := weir.yaml.5 weir.bash weir.zsh weir.fish
weir.yaml.5_from := config manual
weir.bash_from   := completion bash
weir.zsh_from    := completion zsh
weir.fish_from   := completion fish
weir.yaml.5_to   := man/man5/weir.yaml.5
weir.bash_to     := bash-completion/completions/weir
weir.zsh_to      := zsh/site-functions/_weir
weir.fish_to     := fish/vendor_completions.d/weir.fish

$(GENERATED:%=$(BUILD)/install/%): $(BUILD)/install/%: $(built) FORCE
	@mkdir -p $(@D)
	@$(BUILD)/weir $($*_from) >$@

# The unit names the binary by its place.
$(BUILD)/install/weir.service: cli/weir.service FORCE
	@mkdir -p $(@D)
	@sed 's|/usr/local/bin/|$(PREFIX)/bin/|' $< >$@

INSTALL := install -D -m 644
define install_generated
$(INSTALL) $(BUILD)/install/$1 $(SHARE)/$($1_to)

endef
SHARE = $(DESTDIR)$(PREFIX)/share
install: $(built) $(GENERATED:%=$(BUILD)/install/%) $(BUILD)/install/weir.service ## into PREFIX (/usr/local), below DESTDIR
	install -D -m 755 $(BUILD)/weir $(DESTDIR)$(PREFIX)/bin/weir
	$(INSTALL) cli/man/weir.1 $(SHARE)/man/man1/weir.1
	$(foreach file,$(GENERATED),$(call install_generated,$(file)))
	$(INSTALL) cli/example.yaml $(SHARE)/doc/weir/examples/weir.yaml
	$(INSTALL) LICENSE $(SHARE)/doc/weir/LICENSE
	$(INSTALL) $(BUILD)/install/weir.service $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service

clean: ## forget everything that was built
	rm -rf $(BUILD)

format: ## clang-format over all C files
	@.ci/deps format
	@find engine proto pool cache cli tests perf -name '*.[ch]' -print0 2>/dev/null | xargs -0 -r clang-format -i
