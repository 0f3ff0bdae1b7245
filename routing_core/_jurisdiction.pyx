"""A rule's places are bits, so that a long list costs no more than a short one."""
from libc.stdint cimport int32_t

from routing_core._layout cimport continent_bit, country_bit


cdef const Rule *find_rule(const Target *target, const Location *client) noexcept nogil:
    cdef const Rule *rule
    cdef int country = country_bit(client.country)
    cdef int continent = continent_bit(client.continent)
    cdef int32_t i
    for i in range(target.n_rules):
        rule = &target.rules[i]
        if (rule.is_for_all or (continent >= 0 and (rule.continents >> continent) & 1)
                or (country >= 0 and (rule.countries[country >> 6] >> (country & 63)) & 1)):
            return rule
    return NULL
