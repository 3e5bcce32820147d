import { useRef } from "react";

/** The newest value that has come; while the next one is on its way, the one before. */
export function useKept<T>(value: T | undefined): T | undefined {
  const kept = useRef(value);
  if (value !== undefined) kept.current = value;
  return kept.current;
}
