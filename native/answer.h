/* DNS answers for the plain questions, byte for byte what beonss/wire/dns.py writes.
 *
 * Plain is a question of class IN for data, with or without EDNS: nearly everything a cluster asks. Whatever depends on
 * who asks, is rare, or is not a well-formed query is left to Python, which has the last word on all of it. */

#ifndef BEONSS_ANSWER_H
#define BEONSS_ANSWER_H

#include "names.h"

enum {
    ANSWER_IDENTITY = 128, /* bytes of an identity (NSID) */
    ANSWER_ROOM = 1232,    /* bytes of a reply; longer ones are left to Python, over TCP too */
};

struct answer_zones {
    struct names_image image;
    uint8_t identity[ANSWER_IDENTITY];
    size_t identity_length;
};

/* Answer a query.
 *
 * packet, size: the message, whatever it holds.
 * tcp: the reply may be longer than what the client takes over UDP.
 * recursion: names that are not ours are looked up for this client. Those it wants to be are left to Python, and RA is
 *     set in every reply.
 *
 * Returns the length of the reply, 0 where Python must answer. */
size_t answer_query(const struct answer_zones *zones, const uint8_t *packet, size_t size, int tcp, int recursion,
                    uint8_t reply[ANSWER_ROOM]);

#endif
