"""Fitted: what a path is taken for while nobody has measured it; docs/latency.md says how it was found, and what it is worth.

Written by `python -m bench.fit_prior --write`, which without that word fails where this is not what bench/data say. Not to be edited.
"""

from routing_core.spec import BordersSpec

# Subregions of UN M49, with their countries.
SUBREGIONS = (
    "DZ EG EH LY MA SD TN",  # 015 Northern Africa
    "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",  # 011 Western Africa
    "AO CD CF CG CM GA GQ ST TD",  # 017 Middle Africa
    "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",  # 014 Eastern Africa
    "BW LS NA SZ ZA",  # 018 Southern Africa
    "BM CA GL PM US",  # 021 Northern America
    "BZ CR GT HN MX NI PA SV",  # 013 Central America
    "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI",  # 029 Caribbean
    "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",  # 005 South America
    "KG KZ TJ TM UZ",  # 143 Central Asia
    "CN HK JP KP KR MN MO TW",  # 030 Eastern Asia
    "BN ID KH LA MM MY PH SG TH TL VN",  # 035 South-eastern Asia
    "AF BD BT IN IR LK MV NP PK",  # 034 Southern Asia
    "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",  # 145 Western Asia
    "BG BY CZ HU MD PL RO RU SK UA",  # 151 Eastern Europe
    "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",  # 154 Northern Europe
    "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",  # 039 Southern Europe
    "AT BE CH DE FR LI LU MC NL",  # 155 Western Europe
    "AU CC CX HM NF NZ",  # 053 Australia and New Zealand
    "FJ NC PG SB VU",  # 054 Melanesia
    "FM GU KI MH MP NR PW UM",  # 057 Micronesia
    "AS CK NU PF PN TK TO TV WF WS",  # 061 Polynesia
)
# What a path over a border between two of these takes more, beside the third figure of PRIOR: ms, a line each, up to itself.
COSTS_MS = (
    (45,),  # 015
    (68, 58),  # 011
    (58, 58, 58),  # 017
    (71, 98, 58, 33),  # 014
    (61, 69, 58, 34, 58),  # 018
    (0, 11, 5, 10, 4, 0),  # 021
    (41, 96, 93, 76, 93, 14, 71),  # 013
    (65, 91, 93, 84, 92, 6, 61, 71),  # 029
    (71, 127, 93, 136, 150, 7, 65, 60, 86),  # 005
    (81, 109, 117, 119, 108, 0, 20, 19, 22, 102),  # 143
    (122, 118, 117, 173, 147, 0, 0, 0, 0, 150, 60),  # 030
    (96, 128, 117, 217, 169, 0, 0, 0, 22, 141, 24, 42),  # 035
    (60, 106, 117, 160, 128, 1, 14, 22, 63, 118, 75, 64, 99),  # 034
    (62, 92, 117, 116, 107, 0, 12, 20, 45, 80, 141, 122, 109, 96),  # 145
    (25, 37, 24, 64, 32, 0, 8, 17, 27, 27, 104, 71, 64, 43, 14),  # 151
    (13, 17, 24, 35, 4, 0, 5, 12, 20, 22, 92, 58, 40, 20, 5, 2),  # 154
    (27, 47, 24, 62, 32, 0, 15, 23, 44, 32, 109, 77, 57, 40, 15, 5, 22),  # 039
    (10, 32, 24, 32, 10, 0, 5, 13, 18, 26, 84, 53, 23, 17, 2, 0, 5, 0),  # 155
    (78, 152, 144, 200, 173, 0, 27, 30, 79, 88, 43, 37, 38, 73, 28, 1, 23, 1, 0),  # 053
    (144, 144, 144, 144, 144, 0, 48, 48, 48, 49, 49, 49, 49, 49, 9, 9, 9, 9, 0, 0),  # 054
    (144, 144, 144, 144, 144, 0, 48, 48, 48, 49, 49, 49, 49, 49, 9, 9, 9, 9, 0, 0, 0),  # 057
    (144, 144, 144, 144, 144, 0, 48, 48, 48, 49, 49, 49, 49, 49, 9, 9, 9, 9, 0, 0, 0, 0),  # 061
)
# ms, ms per km, ms over any border, and what is above.
PRIOR = (5.41, 0.0177, 4.96, BordersSpec(SUBREGIONS, COSTS_MS))
