/*
 * config_node: a YAML file as a tree, each node with its place, made by config_parse.c and read by config_decode.c.
 *
 * Aliases have been followed: an anchored node may stand below several parents (never below itself), so it knows its
 * place in the file but not its parent. Scalars are text, UTF-8 without NUL; what a text means is decided by the row that
 * wants it. Nodes live in the reader's memory and are gone when the configuration is made.
 */
#ifndef WEIR_CONFIG_NODE_H
#define WEIR_CONFIG_NODE_H

#include "engine/base/slice.h"

/* Lines and columns count from 1, columns and widths in characters. line 0: no place. */
struct place {
    uint32_t line, column, width;
};

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    bool plain;   /* a scalar without quotes */
    bool open;    /* its end has not come yet: an alias to it would never end */
    uint32_t count;  /* children */
    uint32_t height; /* 0 for a scalar */
    uint32_t total;  /* nodes of the subtree, aliases followed */
    struct place place;
    struct slice text; /* scalar */
    struct node_child *first, **tail;
};

struct node_child {
    struct node *key; /* NULL in a list; else a scalar */
    struct node *value;
    struct node_child *next;
};

/* "", "~" and "null" without quotes: YAML's way to say nothing. */
bool node_is_null(const struct node *node);

/* The value of the first such key of a map; NULL when there is none, or node is NULL or no map. */
const struct node *node_find(const struct node *node, const char *key);

/* Children as a list: those of a list or map, or a scalar as its own only item. Start with *child = NULL; NULL at the end. */
uint32_t node_items(const struct node *node);
const struct node *node_next(const struct node *node, const struct node_child **child);

#endif
