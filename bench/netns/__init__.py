"""Several hosts on one machine: network namespaces, joined by a relay that delays, limits and cuts."""
