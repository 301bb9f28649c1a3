/* A driver for sanitizers: opens images and asks them anything, whatever they hold. Built by tests/fuzz/test_native.py.
 *
 *     fuzz IMAGE QUERIES SEED ROUNDS
 *
 * QUERIES: queries one after the other, each behind two bytes of length. Each round changes queries by chance and, every
 * other round, the image; an image that opens is then asked all of them, and for names and addresses directly. Nothing is
 * checked here but what the sanitizers check: no access outside of what was given, no undefined arithmetic. The
 * image and each query are copied to a piece of memory of exactly their size. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

static uint64_t state;

static uint64_t next(void)
{
    /* xorshift64*: the same numbers everywhere. */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u;
}

static size_t below(size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next() % limit);
}

static uint8_t *load(const char *name, size_t *size)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(name);
        exit(2);
    }
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size)
        exit(2);
    fclose(file);
    return bytes;
}

static uint8_t *copied(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        exit(2);
    memcpy(copy, bytes, size);
    return copy;
}

/* Change a few places; numbers that are nearly right find more than numbers that are not. */
static void change(uint8_t *bytes, size_t size, size_t from)
{
    for (size_t count = 1 + below(3); count > 0 && size > from; count--) {
        size_t at = from + below(size - from);
        switch (below(5)) {
        case 0:
            bytes[at] = (uint8_t)next();
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << below(8));
            break;
        case 2:
            bytes[at]++;
            break;
        case 3:
            bytes[at] = below(2) ? 0xFF : 0;
            break;
        default:
            if (at + 4 <= size)
                memset(&bytes[at], below(2) ? 0xFF : 0, 4);
        }
    }
}

static void ask_all(const struct answer_zones *zones, const uint8_t *queries, size_t size, unsigned long *answers)
{
    for (size_t at = 0; at + 2 <= size;) {
        size_t length = (size_t)queries[at] << 8 | queries[at + 1];
        if (length > size - at - 2)
            break;
        uint8_t *query = copied(&queries[at + 2], length), *reply = malloc(ANSWER_ROOM);
        if (below(2))
            change(query, length, 0);
        size_t cut = below(8) ? length : below(length + 1);
        size_t replied = answer_query(zones, query, cut, (int)below(2), (int)below(2), reply);
        if (replied > ANSWER_ROOM)
            abort();
        *answers += replied > 0;
        free(reply);
        free(query);
        at += length + 2;
    }
    for (int i = 0; i < 20; i++) {
        struct names_found found;
        struct names_address addresses[NAMES_ADDRESSES];
        uint8_t label[NAMES_LABEL];
        names_number number = (names_number)next() << 64 | next();
        uint32_t family = below(2) ? 4 : 6;
        if (family == 4)
            number = (uint32_t)number;
        if (names_find_address(&zones->image, family, number, &found)) {
            names_label(&zones->image, &found, label);
            names_addresses(&zones->image, &found, addresses);
        }
        names_occupied(&zones->image, family, number, number + (next() & 0xFFFF));
        size_t length = 1 + below(NAMES_LABEL);
        for (size_t j = 0; j < length; j++)
            label[j] = (uint8_t)(below(4) ? '0' + below(10) : next());
        names_find(&zones->image, label, length, &found);
    }
}

int main(int count, char **arguments)
{
    size_t image_size, queries_size;
    unsigned long opened = 0, answers = 0;
    if (count != 5) {
        fprintf(stderr, "usage: fuzz IMAGE QUERIES SEED ROUNDS\n");
        return 2;
    }
    uint8_t *image = load(arguments[1], &image_size), *queries = load(arguments[2], &queries_size);
    state = strtoull(arguments[3], NULL, 10) | 1;
    unsigned long rounds = strtoul(arguments[4], NULL, 10);
    for (unsigned long round = 0; round < rounds; round++) {
        size_t size = round % 16 == 15 ? below(image_size + 1) : image_size;
        uint8_t *changed = copied(image, size);
        struct answer_zones zones;
        if (round % 2)
            change(changed, size, below(4) ? 24 : 0);
        memset(&zones, 0, sizeof zones);
        zones.identity_length = below(ANSWER_IDENTITY + 1);
        if (names_open(&zones.image, changed, size) == NAMES_OPEN) {
            opened++;
            ask_all(&zones, queries, queries_size, &answers);
        }
        free(changed);
    }
    free(image);
    free(queries);
    printf("%lu of %lu images opened, %lu answers\n", opened, rounds, answers);
    return 0;
}
