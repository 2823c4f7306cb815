#include "engine/config_node.h"

bool node_is_null(const struct node *node)
{
    return node->kind == NODE_SCALAR && node->plain &&
           (node->text.length == 0 || slice_equal(node->text, SLICE("~")) || slice_equal(node->text, SLICE("null")));
}

const struct node *node_find(const struct node *node, const char *key)
{
    if (!node || node->kind != NODE_MAP)
        return NULL;
    for (const struct node_child *child = node->first; child; child = child->next) {
        if (slice_equal(child->key->text, slice_of_text(key)))
            return child->value;
    }
    return NULL;
}

uint32_t node_items(const struct node *node)
{
    return node->kind == NODE_SCALAR ? 1 : node->count;
}

const struct node *node_next(const struct node *node, const struct node_child **child)
{
    static const struct node_child scalar_seen;
    if (node->kind == NODE_SCALAR) {
        bool seen = *child != NULL;
        *child = &scalar_seen;
        return seen ? NULL : node;
    }
    *child = *child ? (*child)->next : node->first;
    return *child ? (*child)->value : NULL;
}
