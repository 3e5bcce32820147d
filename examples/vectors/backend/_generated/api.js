// Written by Camber from the functions' annotations; changes are overwritten.

import { anyApi } from "convex/server";

/** References to the application's functions, for `useQuery` and its like. */
export const api = anyApi;
export const internal = anyApi;
