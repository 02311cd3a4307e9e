/** The share of failures among the jobs of a type that succeeded or failed; null: there were none, or it is not told. */
export function failureShare(type) {
  const judged = (type.succeeded_total ?? 0) + (type.failed_total ?? 0);
  return judged ? type.failed_total / judged : null;
}
