"""Shares: which part of all requests like one goes to each PoP. From the same weigh() that traffic runs, for explain.

Must not know how an answer is shown.
"""
from routing_core._decision cimport Asked, Weighed
from routing_core._layout cimport Route, TableData, Target

# By the candidate's place in `weighed`, of MAX_POPS; zeros when there is no decision. `weighed`, from a decision, is left as the newest
# version has it for the same draw.
cdef void work_out_shares(const TableData *table, const Route *route, const Target *target, const Asked *asked, Weighed *weighed,
                          double *shares) noexcept nogil
