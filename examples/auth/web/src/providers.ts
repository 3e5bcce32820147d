/** What people call the providers of backend/auth.py. */
export const NAMES: Record<string, string> = {
  github: "GitHub",
  google: "Google",
  work: "your company",
  gitlab: "GitLab",
  password: "a password",
  email: "links by e-mail",
  "email-code": "codes by e-mail",
  anonymous: "nothing but this session",
};
